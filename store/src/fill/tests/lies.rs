//! Sources that do not tell the truth.

use super::*;

/// The place of the n-th event that is followed by an event.
fn nth(items: &[HistoryItem], n: usize) -> usize {
    let is_event = |at: usize| matches!(items.get(at), Some(HistoryItem::Event(_)));
    (0..items.len()).filter(|at| is_event(*at) && is_event(at + 1)).nth(n).unwrap()
}

fn checkpoint(items: &[HistoryItem], n: usize) -> usize {
    let mut places = (0..items.len()).filter(|at| matches!(items[*at], HistoryItem::Checkpoint(_)));
    places.nth(n).unwrap()
}

/// Whether a filling that has been given these items says that this is wrong, keeps the cuts before, and goes
/// on after them.
#[track_caller]
fn assert_refused(setting: &Setting, items: Vec<HistoryItem>, wrong: impl Fn(&FillError) -> bool) {
    let mut filling = setting.filling(Below::Hashes);
    let taken = filling.take(0, items);
    assert!(taken.as_ref().is_err_and(wrong), "{taken:?}");
    assert!(taken.unwrap_err().is_false());
    assert_eq!(filling.is_whole(), filling.next() == filling.total());
    // Nothing of it stays in the way.
    let next = filling.next();
    assert_eq!(filling.database().unwrap().snapshot().unwrap().len().unwrap(), next.max(1));
    let rest = setting.source.history(next, Height(3), ALL).unwrap();
    filling.take(next, rest.items).unwrap();
    filling.finish().unwrap();
    assert_filled(setting, &setting.store());
    place::discard(&setting.store()).unwrap();
}

#[test]
fn lies_are_found_out_and_nothing_of_them_stays() {
    let setting = Setting::new();
    let changed = |change: &dyn Fn(&mut Vec<HistoryItem>)| {
        let mut items = setting.all();
        change(&mut items);
        items
    };
    // An event is missing: another follows it.
    let items = changed(&|items| drop(items.remove(nth(items, 3))));
    assert_refused(&setting, items, |error| matches!(error, FillError::Size { .. }));
    // The last one before a checkpoint is missing.
    let items = changed(&|items| drop(items.remove(checkpoint(items, 0) - 1)));
    assert_refused(&setting, items, |error| matches!(error, FillError::Size { .. }));
    // One comes twice.
    let items = changed(&|items| items.insert(nth(items, 3), items[nth(items, 3)].clone()));
    assert_refused(&setting, items, |error| matches!(error, FillError::Order(_)));
    // Another order.
    let items = changed(&|items| {
        let at = nth(items, 3);
        items.swap(at, at + 1);
    });
    assert_refused(&setting, items, |error| {
        matches!(error, FillError::Order(_) | FillError::Root(_))
    });
    // Too many.
    let items = changed(&|items| items.push(items[nth(items, 3)].clone()));
    assert_refused(&setting, items, |error| matches!(error, FillError::TooMany(_)));
    // A body that is another's, and none.
    let items = changed(&|items| {
        let other = events(items)[5].body.clone();
        let at = nth(items, 3);
        if let HistoryItem::Event(event) = &mut items[at] {
            event.body = other;
        }
    });
    assert_refused(&setting, items, |error| matches!(error, FillError::Refused(_)));
    let items = changed(&|items| {
        let at = nth(items, 3);
        if let HistoryItem::Event(event) = &mut items[at] {
            event.body = None;
        }
    });
    assert_refused(&setting, items, |error| matches!(error, FillError::NoBody(_)));
    // Checkpoints left out, twice, of another height, or that nobody has certified.
    let items = changed(&|items| drop(items.remove(checkpoint(items, 0))));
    let any = |error: &FillError| error.is_false();
    assert_refused(&setting, items, any);
    let items = changed(&|items| {
        let at = checkpoint(items, 1);
        items.insert(at, items[at].clone());
    });
    assert_refused(&setting, items, |error| {
        matches!(error, FillError::Checkpoint { height: Height(2), .. })
    });
    let items = changed(&|items| {
        let (one, two) = (checkpoint(items, 0), checkpoint(items, 1));
        items.swap(one, two);
    });
    assert_refused(&setting, items, |error| {
        matches!(error, FillError::Checkpoint { height: Height(2), .. })
    });
    let items = changed(&|items| {
        let at = checkpoint(items, 1);
        if let HistoryItem::Checkpoint(certified) = &mut items[at] {
            certified.certificate.signatures.clear();
        }
    });
    assert_refused(&setting, items, |error| matches!(error, FillError::Checkpoint { .. }));
}

/// Makes an event one that nobody has signed, which continues no chain.
fn forge(item: &mut HistoryItem) {
    let HistoryItem::Event(event) = item else { panic!("no event") };
    let mark = [0x63, b's', b'i', b'g', 0x58, 0x40];
    let sig = event.event.windows(mark.len()).position(|bytes| bytes == mark).unwrap();
    event.event[sig + mark.len()] ^= 1;
}

#[test]
fn an_event_that_nobody_signed_is_in_no_certified_root() {
    let setting = Setting::new();
    let mut items = setting.all();
    let at = checkpoint(&items, 2) - 1;
    forge(&mut items[at]);
    assert_refused(&setting, items.clone(), |error| matches!(error, FillError::Root(Height(3))));
    let taken = setting.filling(Below::Signatures).take(0, items);
    assert!(matches!(taken, Err(FillError::Refused(_))), "{taken:?}");
}

#[test]
fn another_checkpoint_than_the_one_that_the_store_starts_from_is_not_it() {
    let setting = Setting::new();
    let mut front = setting.front(Below::Hashes, 0);
    front.target.id = quipu_merge::CheckpointId([1; 32]);
    let mut filling = Filling::of(front).unwrap();
    let taken = filling.take(0, setting.all());
    assert!(matches!(taken, Err(FillError::OtherCheckpoint(Height(3)))), "{taken:?}");
}

/// However many lie, and however late: what is certified stays.
#[test]
fn a_lie_near_the_end_costs_one_cut() {
    let setting = Setting::new();
    let size = |height| setting.source.history(0, Height(height), ALL).unwrap().next;
    let mut filling = setting.filling(Below::Hashes);
    for liar in 0..10 {
        let next = filling.next();
        assert_eq!(next, if liar == 0 { 0 } else { size(2) });
        let mut items = setting.source.history(next, Height(3), ALL).unwrap().items;
        let at = items.len() - 2;
        forge(&mut items[at]);
        let taken = filling.take(next, items);
        assert!(matches!(taken, Err(FillError::Root(Height(3)))), "{taken:?}");
    }
    let next = filling.next();
    filling.take(next, setting.source.history(next, Height(3), ALL).unwrap().items).unwrap();
    filling.finish().unwrap();
    assert_filled(&setting, &setting.store());
}

/// Who is asked now is not to blame for what was there before, which is found before anything is admitted.
#[test]
fn nobody_is_blamed_for_what_was_left_before() {
    let setting = Setting::new();
    let mut filling = setting.filling(Below::Hashes);
    filling.take(0, setting.source.history(0, Height(2), ALL).unwrap().items).unwrap();
    setting.leave_something(&mut filling);
    drop(filling);
    let mut filling = setting.filling(Below::Hashes);
    let next = filling.next();
    assert!(next > 0);
    let rest = setting.source.history(next, Height(3), ALL).unwrap().items;
    let taken = filling.take(next, rest);
    assert!(matches!(taken, Err(FillError::Beyond(1))), "{taken:?}");
    assert!(!taken.unwrap_err().is_false());
    // It begins anew by itself.
    let all = setting.all();
    if filling.next() != 0 {
        assert!(matches!(filling.take(next, all.clone()), Err(FillError::Place { wanted: 0, .. })));
    }
    filling.take(0, all).unwrap();
    filling.finish().unwrap();
    assert_filled(&setting, &setting.store());
}
