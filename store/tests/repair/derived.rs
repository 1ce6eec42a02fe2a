//! What is derived, and nothing else, is wrong.

use quipu_store::Ledger;

use super::setting::{Setting, assert_is, delete_all, repair, try_repair, write_on};
use super::support::{raw, records, some};

/// The families that are derived, and the records of `meta` that are.
const DERIVED: [(&str, &[u8]); 15] = [
    ("ids", b""),
    ("order", b""),
    ("state", b""),
    ("versions", b""),
    ("digests", b""),
    ("edges", b""),
    ("meta", b"L"),
    ("meta", b"C"),
    ("meta", b"V"),
    ("meta", b"E"),
    ("meta", b"K"),
    ("meta", b"G"),
    ("meta", b"heads"),
    ("meta", b"ledger"),
    ("meta", b"numbers"),
];

#[test]
fn a_sound_store_is_left_alone_and_a_forced_repair_changes_nothing() {
    let setting = Setting::new();
    let store = setting.damaged(|_| ());
    let report = repair(&store, &[]);
    assert!(!report.repaired && report.is_whole() && report.damaged.is_none());
    assert!(!store.join("db.damaged-1").exists());
    for number in 1..3 {
        let report = try_repair(&store, &[], true).unwrap();
        assert!(report.repaired && report.is_whole(), "{report:?}");
        assert_eq!(report.damaged, Some(store.join(format!("db.damaged-{number}"))));
        assert_eq!(
            (report.kept, report.fetched, report.unreadable),
            (setting.expected.order.len() as u64, 0, 0)
        );
        assert_is(&store, &setting.expected, "forced");
    }
    // The own chain goes on.
    let ledger = Ledger::open(&store).unwrap();
    write_on(&ledger).unwrap();
    assert!(!store.join("repair").exists());
}

#[test]
fn derived_records_that_are_gone_or_wrong_are_derived_again() {
    let setting = Setting::new();
    for (family, prefix) in DERIVED {
        let all = records(&raw(&setting.store), family, prefix);
        if all.is_empty() {
            continue;
        }
        let gone = setting.damaged_db(|db| delete_all(db, family, prefix));
        let wrong = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let mut wrong = value.clone();
            wrong.iter_mut().for_each(|byte| *byte ^= 1);
            (key.clone(), if value.is_empty() { b"more".to_vec() } else { wrong })
        };
        let report = repair(&gone, &[]);
        assert!(report.is_whole(), "{family} {prefix:?}: {report:#?}");
        assert_is(&gone, &setting.expected, family);
        let changed = setting.damaged_db(|db| {
            let handle = db.cf_handle(family).unwrap();
            for (key, value) in some(all, 3).iter().map(wrong) {
                db.put_cf(handle, key, value).unwrap();
            }
        });
        repair(&changed, &[]);
        assert_is(&changed, &setting.expected, family);
    }
}
