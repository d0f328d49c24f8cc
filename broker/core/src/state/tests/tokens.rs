//! Tokens, and what depends on what a caller was let in with.

use super::*;
use crate::event::LeaveCause;
use crate::id::CredentialId;
use crate::limits;
use crate::record::{Role, TokenDigest, TokenRecord};

fn id(text: &str) -> CredentialId {
    CredentialId::parse(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse("scopes", text).unwrap()
}

fn token(of: &str) -> TokenRecord {
    TokenRecord {
        id: id(of),
        digest: TokenDigest([1; 32]),
        note: "a test".into(),
        role: Role::Member,
        scopes: vec![pattern("*")],
        peers: pattern("*"),
        expires: None,
        created: WallTime::default(),
        created_by: None,
    }
}

fn let_in(credential: &CredentialId, command: Command) -> Request {
    Request { credential: Some(credential.clone()), ..Request::internal(command) }
}

impl Mesh {
    fn issue(&mut self, token: &TokenRecord) -> Result<Outcome, Rejection> {
        self.ask(&let_in(&CredentialId::unix(), Command::CreateToken(Box::new(token.clone()))))
    }

    fn revoke(&mut self, of: &str) -> Result<Outcome, Rejection> {
        self.ask(&let_in(&CredentialId::unix(), Command::RevokeToken { id: id(of) }))
    }

    fn join_with(
        &mut self,
        credential: &CredentialId,
        who: Option<&str>,
        allowed: &str,
    ) -> Result<Arc<PeerRecord>, Rejection> {
        let join = Join { allowed: pattern(allowed), ..self.joining(who, None) };
        let outcome = self.ask(&let_in(credential, Command::Join(join)))?;
        let Outcome::Joined { peer, .. } = outcome else { panic!("{outcome:?}") };
        Ok(peer)
    }
}

#[test]
fn a_token_is_issued_and_taken_back_in_a_scope_of_its_own() {
    let mut mesh = Mesh::default();
    mesh.join("ann");
    mesh.events();
    let Ok(Outcome::TokenCreated { token: issued }) = mesh.issue(&token("t-00000001")) else { panic!() };
    assert_eq!(issued.created_by, Some(CredentialId::unix()));
    assert!(mesh.issue(&token("t-00000001")).is_err(), "an id is one token's");
    assert_eq!(mesh.state.tokens.list().count(), 1);
    assert_eq!(mesh.revoke("t-00000001"), Ok(Outcome::Done));
    assert_eq!(mesh.revoke("t-00000001"), Err(Rejection::TokenNotFound { id: id("t-00000001") }));
    assert_eq!(mesh.state.tokens.list().count(), 0);
    let told: Vec<_> = mesh.log.iter().rev().take(2).cloned().collect();
    assert!(matches!(&told[1].events[..], [Event::TokenCreated { .. }]), "{told:?}");
    assert!(matches!(&told[0].events[..], [Event::TokenRevoked { .. }]), "{told:?}");
    for (log, sequence) in told.iter().zip([2, 1]) {
        assert_eq!((log.scope.clone(), log.sequence.0), (ScopeId::admin(), sequence));
        assert_eq!(log.credential, Some(CredentialId::unix()));
    }
}

#[test]
fn there_are_only_so_many_tokens() {
    let mut mesh = Mesh::default();
    for n in 0..limits::TOKENS {
        mesh.issue(&token(&format!("t-{n:08}"))).unwrap();
    }
    let refused = mesh.issue(&token("t-one1more"));
    assert_eq!(refused, Err(Rejection::LimitReached { what: "tokens", limit: limits::TOKENS }));
    mesh.revoke("t-00000000").unwrap();
    assert!(mesh.issue(&token("t-one1more")).is_ok());
}

#[test]
fn nothing_is_done_with_a_token_that_is_over() {
    let mut mesh = Mesh::default();
    let ends = TokenRecord { expires: Some(WallTime(mesh.now + 1_000)), ..token("t-00000001") };
    mesh.issue(&ends).unwrap();
    mesh.issue(&token("t-00000002")).unwrap();
    for of in ["t-00000001", "t-00000002"] {
        assert!(mesh.join_with(&id(of), None, "*").is_ok(), "{of}");
    }
    mesh.pass(Millis(999));
    assert!(mesh.join_with(&id("t-00000001"), None, "*").is_ok());
    mesh.pass(Millis(1));
    mesh.revoke("t-00000002").unwrap();
    for of in ["t-00000001", "t-00000002", "t-00000003"] {
        assert_eq!(mesh.join_with(&id(of), None, "*"), Err(Rejection::CredentialOver), "{of}");
    }
    let late = TokenRecord { expires: Some(WallTime(mesh.now)), ..token("t-00000004") };
    assert!(mesh.issue(&late).is_err(), "it would be over at once");
}

#[test]
fn a_peer_belongs_to_the_credential_that_joined_last_and_to_the_owner() {
    let mut mesh = Mesh::default();
    let (one, two) = (id("t-00000001"), id("t-00000002"));
    mesh.issue(&token("t-00000001")).unwrap();
    mesh.issue(&token("t-00000002")).unwrap();
    let end = |mesh: &mut Mesh, peer: &PeerRecord, cause| {
        let session = session(peer);
        mesh.ask(&Request::internal(Command::End { session, cause })).unwrap();
    };
    let ann = mesh.join_with(&one, Some("ann"), "*").unwrap();
    assert_eq!(ann.credential, one);
    end(&mut mesh, &ann, LeaveCause::Left);
    let refused = mesh.join_with(&two, Some("ann"), "*");
    assert!(matches!(refused, Err(Rejection::PermissionDenied { .. })), "{refused:?}");
    let ann = mesh.join_with(&one, Some("ann"), "*").unwrap();
    end(&mut mesh, &ann, LeaveCause::Left);
    mesh.revoke("t-00000001").unwrap();
    let ann = mesh.join_with(&two, Some("ann"), "*").unwrap();
    assert_eq!(ann.credential, two, "what a token that is over has left is anybody's");
    end(&mut mesh, &ann, LeaveCause::Revoked);
    let ann = mesh.join_with(&CredentialId::unix(), Some("ann"), "*").unwrap();
    end(&mut mesh, &ann, LeaveCause::Left);
    let refused = mesh.join_with(&two, Some("ann"), "*");
    assert!(matches!(refused, Err(Rejection::PermissionDenied { .. })), "{refused:?}");
}

#[test]
fn a_peer_is_called_what_its_token_allows() {
    let mut mesh = Mesh::default();
    let one = id("t-00000001");
    mesh.issue(&token("t-00000001")).unwrap();
    let refused = mesh.join_with(&one, Some("ann"), "ci-*");
    assert!(matches!(refused, Err(Rejection::InvalidField { field: "name", .. })), "{refused:?}");
    assert_eq!(mesh.join_with(&one, Some("ci-1"), "ci-*").unwrap().name, name("ci-1"));
    let given = mesh.join_with(&one, None, "ci-*").unwrap().name.clone();
    assert!(given.as_str().starts_with("ci-") && given.as_str().len() > 3, "{given}");
    assert_ne!(mesh.join_with(&one, None, "ci-*").unwrap().name, given);
    assert_eq!(mesh.join_with(&one, None, "only").unwrap().name, name("only"));
    let refused = mesh.join_with(&one, None, "only");
    assert!(matches!(refused, Err(Rejection::InvalidField { field: "name", .. })), "{refused:?}");
}

#[test]
fn nobody_joins_the_broker_s_own_scopes() {
    let mut mesh = Mesh::default();
    for reserved in [ScopeId::admin(), ScopeId::nowhere(), ScopeId::parse("~any/thing").unwrap()] {
        let join = Join { scope: reserved.clone(), ..mesh.joining(Some("ann"), None) };
        let refused = mesh.ask(&let_in(&CredentialId::unix(), Command::Join(join)));
        assert!(matches!(refused, Err(Rejection::InvalidField { field: "scope", .. })), "{reserved}");
    }
}

#[test]
fn a_token_sees_what_its_patterns_mean_and_only_an_admin_the_broker_s_own() {
    let scope = |text: &str| ScopeId::parse(text).unwrap();
    let all = token("t-00000001");
    assert!(all.sees(&scope("github.com/acme/app")) && all.sees(&ScopeId::global()));
    assert!(!all.sees(&ScopeId::admin()) && !all.sees(&ScopeId::nowhere()));
    let some = TokenRecord { scopes: vec![pattern("github.com/acme/*"), pattern("x")], ..all.clone() };
    for (of, sees) in
        [("github.com/acme/app", true), ("x", true), ("global", false), ("github.com/b/c", false)]
    {
        assert_eq!(some.sees(&scope(of)), sees, "{of}");
    }
    assert!(TokenRecord { role: Role::Admin, ..all }.sees(&ScopeId::admin()));
}
