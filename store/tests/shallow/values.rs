//! Values that the start did not bring, and some that are erased later.

use quipu_merge::{ForkPolicy, Key};
use quipu_store::{MissingValue, Value};
use tempfile::TempDir;

use super::same::assert_same;
use super::support::certified::certify;
use super::support::values::{get, noise, put};
use super::support::{assert_sound, merge};
use super::world::{NOW, create, start};

#[test]
fn values_come_and_go() {
    let dir = TempDir::new().unwrap();
    let whole = create(&dir.path().join("whole"), ForkPolicy::Keep);
    let long = noise(1, 100_000);
    let first = put(&whole, "long", &long);
    let second = put(&whole, "short", b"short");
    let mut transaction = whole.transaction();
    transaction.append("list", b"entry").unwrap();
    let third = transaction.commit().unwrap().event;
    certify(&whole);
    let shallow = start(&whole, &dir.path().join("shallow"));
    let missing = shallow.missing_values(None, 9).unwrap();
    let named = |value: &MissingValue| (value.event, value.key.clone());
    let long_key = Key::new("long").unwrap();
    assert_eq!(missing.iter().map(named).collect::<Vec<_>>(), [(first, Some(long_key))]);
    assert_eq!(shallow.status().unwrap().missing_values, 1);
    assert_sound(&shallow);
    merge(&shallow, &whole);
    assert_eq!(get(&shallow, "long"), long);
    assert_eq!(shallow.status().unwrap().missing_values, 0);
    assert_sound(&shallow);
    for event in [first, second, third] {
        whole.redact(event).unwrap();
    }
    merge(&shallow, &whole);
    assert_eq!(shallow.get("long").unwrap(), Some(Value::Erased));
    assert_eq!(shallow.get("short").unwrap(), Some(Value::Erased));
    assert_same(&shallow, &whole);
    assert_sound(&shallow);
    shallow.gc(NOW, &mut |_, _| {}).unwrap();
    assert_sound(&shallow);
}
