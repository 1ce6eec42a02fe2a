use super::*;

#[test]
fn a_token_holds_until_it_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(dir.path()).unwrap();
    let new = tokens.add("probe", Role::Write, None).unwrap();
    assert_eq!(new.text.len(), PREFIX.len() + 64);
    assert_eq!(tokens.check(&new.text).unwrap(), Some(new.info.clone()));
    assert_eq!(tokens.list().unwrap(), std::slice::from_ref(&new.info));
    let mut other = new.text.clone();
    let last = if other.ends_with('a') { 'b' } else { 'a' };
    other.pop();
    other.push(last);
    for text in [other.as_str(), "", "quipu_", "quipu_aaaa", &new.info.id] {
        assert_eq!(tokens.check(text).unwrap(), None, "{text}");
    }
    assert!(tokens.revoke(&new.info.id).unwrap());
    assert!(!tokens.revoke(&new.info.id).unwrap());
    assert_eq!(tokens.check(&new.text).unwrap(), None);
}

#[test]
fn the_file_holds_no_token_and_is_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(dir.path()).unwrap();
    let new = tokens.add("probe", Role::Admin, None).unwrap();
    let path = dir.path().join(TOKENS_FILE);
    let file = fs::read_to_string(&path).unwrap();
    assert!(file.contains(&new.info.id));
    assert!(!file.contains(new.text.strip_prefix(PREFIX).unwrap()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(tokens.check(&new.text), Err(TokenError::Exposed(_, 0o640))));
    assert!(matches!(Tokens::open(dir.path()), Err(TokenError::Exposed(..))));
}

#[test]
fn what_another_process_changes_counts() {
    let dir = tempfile::tempdir().unwrap();
    let here = Tokens::open(dir.path()).unwrap();
    let there = Tokens::open(dir.path()).unwrap();
    let new = there.add("probe", Role::Read, None).unwrap();
    assert!(here.check(&new.text).unwrap().is_some());
    there.revoke(&new.info.id).unwrap();
    assert!(here.check(&new.text).unwrap().is_none());
    assert!(!here.holds(&new.info.id).unwrap());
}

#[test]
fn no_change_is_lost_where_several_change_at_once() {
    const EACH: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    // Each with what it knows, as processes have it.
    let open = || Tokens::open(dir.path()).unwrap();
    let here = open();
    let old: Vec<_> =
        (0..EACH).map(|_| here.add("old", Role::Read, None).unwrap().info.id).collect();
    let mut made: Vec<String> = std::thread::scope(|scope| {
        let add = || {
            let tokens = open();
            let add = |_| tokens.add("new", Role::Read, None).unwrap().info.id;
            (0..EACH).map(add).collect::<Vec<_>>()
        };
        let revoke = || {
            let tokens = open();
            old.iter().for_each(|id| assert!(tokens.revoke(id).unwrap()));
        };
        let adding = [scope.spawn(add), scope.spawn(add)];
        scope.spawn(revoke);
        adding.into_iter().flat_map(|adding| adding.join().unwrap()).collect()
    });
    made.sort_unstable();
    let mut left: Vec<_> = here.list().unwrap().into_iter().map(|token| token.id).collect();
    left.sort_unstable();
    assert_eq!(left, made);
    let mode = fs::metadata(dir.path().join(LOCK_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_token_ends() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(dir.path()).unwrap();
    let over = tokens.add("over", Role::Read, Some(Duration::ZERO)).unwrap();
    let later = tokens.add("later", Role::Read, Some(Duration::from_secs(3600))).unwrap();
    assert_eq!(tokens.check(&over.text).unwrap(), None);
    assert_eq!(tokens.check(&later.text).unwrap(), Some(later.info));
    let never = Some(Duration::from_secs(u64::MAX));
    assert!(matches!(tokens.add("never", Role::Read, never), Err(TokenError::Lifetime)));
    let long = "x".repeat(MAX_NAME + 1);
    assert!(matches!(tokens.add(&long, Role::Read, None), Err(TokenError::Name)));
}
