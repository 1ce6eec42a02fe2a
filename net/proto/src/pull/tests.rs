use super::*;

fn tips(count: u64) -> Vec<Tip> {
    let id = |number: u64| EventId(*blake3::hash(&number.to_be_bytes()).as_bytes());
    (0..count).map(|number| Tip { seq: quipu_merge::Seq(number), id: id(number) }).collect()
}

/// The own branches of many authors are named as well: together they are too much for a message.
#[test]
fn what_is_too_much_for_a_message_is_asked_for_later() {
    let held = tips(1024);
    let offered = tips(60_000);
    let mut pulling = Pulling::default();
    let lanes = offered
        .chunks(400)
        .zip(0..)
        .map(|(tips, author)| LaneTips { author: AuthorKey([author; 32]), tips: tips.to_vec() });
    assert!(pulling.offer(lanes.collect()));
    let (mut asked, mut pulls) = (BTreeSet::new(), 0);
    while let Some(Task::Plan { ticket, offered }) = pulling.plan(|| Ticket(pulls)) {
        assert!(offered.iter().map(|lane| lane.tips.len()).sum::<usize>() <= MAX_PLANNED);
        let want = |lane: &LaneTips| Want {
            up_to: lane.tips.iter().map(|tip| tip.id).collect(),
            held: held.clone(),
        };
        let wants = offered.iter().map(want).collect();
        let (pull, all) = pulling.planned(ticket, wants, &BTreeSet::new(), Moment(0));
        let pull = pull.unwrap();
        assert!(all);
        let ids = pull.wants.iter().flat_map(|want| want.up_to.iter().copied());
        asked.extend(ids);
        pulls += 1;
        let len = Message::Pull(pull).encode().len();
        assert!(len <= MAX_PULL_LEN + 16, "{len} bytes");
        pulling.ended(End { pull: pulls, whole: true });
    }
    assert_eq!((asked.len(), pulling.branches, pulling.is_idle()), (60_000, 0, true));
    assert!((5..20).contains(&pulls), "{pulls} pulls");
}

#[test]
fn what_is_on_offer_is_bounded() {
    let mut pulling = Pulling::default();
    let lane = |author, tips| vec![LaneTips { author: AuthorKey([author; 32]), tips }];
    let most = tips(MAX_OFFERED as u64 + 1);
    assert!(pulling.offer(lane(1, most[1..].to_vec())));
    // The same once more needs no room.
    assert!(pulling.offer(lane(1, most[1..].to_vec())));
    assert!(!pulling.offer(lane(1, most[..1].to_vec())));
    assert!(!pulling.offer(lane(2, most[..1].to_vec())));
    assert_eq!((pulling.branches, pulling.offered.len()), (MAX_OFFERED, 1));
}

#[test]
fn what_comes_of_a_pull_that_was_given_up_is_bounded() {
    let mut pulling = Pulling::default();
    let lane = LaneTips { author: AuthorKey([1; 32]), tips: tips(1) };
    pulling.offer(vec![lane]);
    assert!(pulling.plan(|| Ticket(1)).is_some());
    let want = Want { up_to: vec![EventId([5; 32])], held: Vec::new() };
    let (pull, all) = pulling.planned(Ticket(1), vec![want], &BTreeSet::new(), Moment(0));
    assert!(pull.is_some() && all);
    let late = Moment(0).after(PATIENCE);
    assert!(pulling.give_up(late));
    let packet = crate::Packet { event: vec![0; 1 << 20], body: Vec::new(), openings: Vec::new() };
    let batch = || Batch { pull: 1, events: vec![packet.clone()] };
    let mut dropped = 0;
    while pulling.came(batch(), || Ticket(2), late) == Ok(None) {
        dropped += packet.len() as u64;
    }
    assert!((WINDOW..=WINDOW + u64::from(MAX_SYNC_FRAME)).contains(&dropped), "{dropped}");
    assert_eq!(pulling.came(batch(), || Ticket(2), late), Err(Misbehaviour::Unasked));
}

#[test]
fn who_says_nothing_keeps_nobody_from_being_asked() {
    let mut pulling = Pulling::default();
    let tip = tips(1)[0];
    let promised = |pulling: &Pulling, now| pulling.promised(now).count();
    let ask = |pulling: &mut Pulling, number, now| {
        pulling.offer(vec![LaneTips { author: AuthorKey([1; 32]), tips: vec![tip] }]);
        assert!(pulling.plan(|| Ticket(number)).is_some());
        let want = Want { up_to: vec![tip.id], held: Vec::new() };
        assert!(pulling.planned(Ticket(number), vec![want], &BTreeSet::new(), now).0.is_some());
    };
    ask(&mut pulling, 1, Moment(0));
    assert!(promised(&pulling, Moment(0)) == 1 && pulling.is_stalled());
    // What comes is not what was promised: so long others wait once more.
    let packet = crate::Packet { event: vec![0; 9], body: Vec::new(), openings: Vec::new() };
    let batch = |pull| Batch { pull, events: vec![packet.clone()] };
    let silent = Moment(0).after(SILENCE);
    assert_eq!(promised(&pulling, silent), 0);
    assert!(pulling.came(batch(1), || Ticket(2), silent).unwrap().is_some());
    assert!(promised(&pulling, silent) == 1 && !pulling.is_stalled());
    // The own store takes its time.
    assert_eq!(promised(&pulling, silent.after(PATIENCE)), 1);
    pulling.admitted(Ticket(2));
    let late = silent.after(PATIENCE);
    assert!(promised(&pulling, late) == 0 && pulling.give_up(late));
    // Once more they do not wait at all, until something comes.
    ask(&mut pulling, 3, late);
    assert!(promised(&pulling, late) == 0 && pulling.is_stalled());
    assert!(pulling.came(batch(2), || Ticket(4), late).unwrap().is_some());
    assert_eq!(promised(&pulling, late), 1);
}

/// Of one author two branches are on offer, and of another one.
#[test]
fn who_lacks_another_branch_of_the_same_author_may_wait_for_that() {
    let all = tips(3);
    let lane =
        |author, tips: &[Tip]| LaneTips { author: AuthorKey([author; 32]), tips: tips.to_vec() };
    let want = |tips: &[Tip]| Want { up_to: tips.iter().map(|tip| tip.id).collect(), held: vec![] };
    for (busy, whole) in [(vec![], true), (vec![all[0].id], false), (vec![all[2].id], true)] {
        let mut pulling = Pulling::default();
        pulling.offer(vec![lane(1, &all[..2]), lane(2, &all[2..])]);
        assert!(pulling.plan(|| Ticket(1)).is_some());
        let wants = vec![want(&all[..2]), want(&all[2..])];
        pulling.planned(Ticket(1), wants, &busy.into_iter().collect(), Moment(0));
        let packet = crate::Packet { event: vec![0; 9], body: Vec::new(), openings: Vec::new() };
        let batch = Batch { pull: 1, events: vec![packet] };
        assert!(pulling.came(batch, || Ticket(2), Moment(0)).unwrap().is_some());
        assert_eq!(pulling.asks_for_all(Ticket(2)), whole);
        assert!(!pulling.asks_for_all(Ticket(1)));
    }
    // More branches than the store is asked about at once.
    let most = tips(MAX_PLANNED as u64 + 1);
    let mut pulling = Pulling::default();
    pulling.offer(vec![lane(1, &most)]);
    assert!(pulling.plan(|| Ticket(1)).is_some());
    pulling.planned(Ticket(1), vec![want(&most[..1])], &BTreeSet::new(), Moment(0));
    let packet = crate::Packet { event: vec![0; 9], body: Vec::new(), openings: Vec::new() };
    let batch = Batch { pull: 1, events: vec![packet] };
    assert!(pulling.came(batch, || Ticket(2), Moment(0)).unwrap().is_some());
    assert!(!pulling.asks_for_all(Ticket(2)));
}
