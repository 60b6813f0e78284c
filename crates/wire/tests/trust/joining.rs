//! Tokens: who holds one joins, once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::trust::{AskError, Authority, Event, Refusal, Terms, join};

use crate::site::{DAY, HOUR, Site, meet, open};

#[tokio::test]
async fn a_host_joins_with_a_token_and_is_known_from_then_on() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let token = site.token("db-a");
    let host = site.join(&open, &token).await.expect("it joins");
    assert_eq!(host.me().to_string(), "host db-a of site shop-a");
    assert!(meet(&site.gate(), &host).await.spoke);
    assert_eq!(open.events(), [Event::Joined { host: "db-a".to_owned(), until: host.me().until }]);
    let known = site.authority.register().all().expect("it is read");
    assert_eq!((known.len(), known[0].certificates[0].serial.clone()), (1, host.me().serial));
}

#[tokio::test]
async fn nothing_that_is_kept_of_a_token_suffices_to_join_and_the_key_stays_on_the_host() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let token = site.token("db-a").to_string();
    let kept = |folder: &str| {
        let files = fs::read_dir(site.dir.path().join("agent/pki").join(folder)).expect("it is there");
        files.map(|it| it.expect("a file").path()).filter(|it| it.is_file()).collect::<Vec<_>>()
    };
    for path in kept("tokens") {
        let text = fs::read_to_string(&path).expect("it is text") + &path.to_string_lossy();
        for cut in token.trim_start_matches("mainstay-1-").as_bytes().windows(8) {
            assert!(!text.contains(std::str::from_utf8(cut).expect("it is text")), "{text}");
        }
    }
    site.join(&open, &token.parse().expect("a token")).await.expect("it joins");
    let key = fs::read_to_string(site.file_of("db-a")).expect("it is there");
    let key = key.lines().nth(1).expect("a line of the key").to_owned();
    for path in [kept("."), kept("hosts"), kept("tokens")].concat() {
        assert!(!fs::read_to_string(&path).expect("it is text").contains(&key), "{}", path.display());
    }
}

#[tokio::test]
async fn what_is_written_is_for_its_owner_alone() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    site.join(&open, &site.token("db-a")).await.expect("it joins");
    let mut folders = vec![site.dir.path().join("agent/pki"), site.dir.path().join("db-a/pki")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).expect("it is read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[tokio::test]
async fn a_token_works_once() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let token = site.token("db-a");
    site.join(&open, &token).await.expect("it joins");
    let again = site.join(&open, &token).await.expect_err("it was used");
    let AskError::Told { code, message } = again else { panic!("{again:?}") };
    assert_eq!(code, "token_used");
    assert!(message.starts_with("the token for host db-a was used at 20"), "{message}");
    assert!(matches!(&open.refusals()[..], [Refusal::TokenUsed { host, .. }] if host == "db-a"), "{:?}", open.events());
}

#[tokio::test]
async fn a_token_ends() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let token = site.token("db-a");
    site.clock.forward(HOUR + Duration::from_secs(1));
    let late = site.join(&open, &token).await.expect_err("it has ended");
    assert!(matches!(&late, AskError::Told { code, .. } if code == "token_expired"), "{late:?}");
    assert!(matches!(&open.refusals()[..], [Refusal::TokenExpired { until, now, .. }] if until < now));
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_unknown() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let token = site.token("db-a");
    let revoked = site.authority.revoke("db-a").expect("it is written");
    assert_eq!((revoked.tokens, revoked.certificates), (1, 0));
    let error = site.join(&open, &token).await.expect_err("it was taken back");
    assert!(matches!(&error, AskError::Told { code, .. } if code == "token_unknown"), "{error:?}");
    assert_eq!(open.refusals(), [Refusal::TokenUnknown]);
}

#[tokio::test]
async fn the_agent_that_made_the_token_is_the_only_one_that_is_believed() {
    let (site, other) = (Site::new("shop-a"), Site::new("shop-a"));
    let open = other.open().await;
    let token = site.token("db-a");
    let error = site.join(&open, &token).await.expect_err("another agent answers");
    let AskError::Refused(refusal @ Refusal::TokenOfAnotherAuthority { .. }) = error else { panic!("{error:?}") };
    assert!(refusal.to_string().starts_with("the agent of site shop-a answers there"), "{refusal}");
    assert!(open.events().iter().all(|it| matches!(it, Event::Refused(_))), "the token went out: {:?}", open.events());
}

#[tokio::test]
async fn of_many_that_join_with_one_token_at_the_same_time_one_does() {
    let site = Site::new("shop-a");
    // Two agents' processes would be a mistake, and no token works twice for all that.
    let state = site.dir.path().join("agent");
    let second = Authority::open(&state, Terms::default(), &site.clock.wall()).expect("it is there");
    let agents = [site.open().await, open(Arc::new(second)).await];
    for round in 0..20 {
        let name = format!("db-{round}");
        let token = site.token(&name);
        let tries = (0..8).map(|at| {
            let (address, token) = (agents[at % 2].address.clone(), token.clone());
            let (state, wall) = (site.state_of(&format!("{name}-{at}")), site.clock.wall());
            tokio::spawn(async move { join(&address, &token, &state, &wall).await })
        });
        let mut joined = Vec::new();
        for tried in tries.collect::<Vec<_>>() {
            match tried.await.expect("no panic") {
                Ok(identity) => joined.push(identity.me().serial),
                Err(AskError::Told { code, .. }) => assert_eq!(code, "token_used"),
                Err(error) => panic!("{error}"),
            }
        }
        let known = site.authority.register().all().expect("it is read");
        let known = known.into_iter().find(|it| it.host == name).expect("it has joined");
        let given: Vec<_> = known.certificates.into_iter().map(|it| it.serial).collect();
        assert_eq!((joined.len(), &given), (1, &joined));
    }
}

#[tokio::test]
async fn a_request_that_cant_be_signed_uses_up_no_token() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let token = site.token("db-a");
    let text = token.to_string();
    // The secret, as it stands in a token's bytes.
    use base64::Engine;
    let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text.trim_start_matches("mainstay-1-")).expect("base64");
    let secret: String = bytes[32..48].iter().map(|it| format!("{it:02x}")).collect();
    let other = mainstay_wire::trust::Joining::begin("shop-a", "db-b").expect("a key");
    for (request, code) in [("no request", "garbled"), (other.request(), "wrong_name")] {
        let body = serde_json::json!({ "secret": secret, "request": request }).to_string();
        let answer = mainstay_wire::trust::answer_to(
            &site.authority,
            None,
            &hyper::Method::POST,
            mainstay_wire::trust::ENROLL,
            body.as_bytes(),
        );
        assert!(matches!(&answer.event, Some(Event::Refused(it)) if it.code() == code), "{answer:?}");
    }
    site.join(&open, &token).await.expect("the token is whole");
}

#[tokio::test]
async fn a_host_with_a_wrong_clock_is_told_both() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let wrong = site.clock.copy();
    wrong.back(3 * DAY);
    let token = site.token("db-a");
    let error = join(&open.address, &token, &site.state_of("db-a"), &wrong.wall()).await.expect_err("not valid yet");
    let AskError::Refused(refusal @ Refusal::Clocks { there, here, .. }) = &error else { panic!("{error:?}") };
    assert_eq!((there.as_second() - here.as_second()) / 86_400, 3, "{refusal}");
    assert!(refusal.to_string().contains("set the one that is wrong"), "{refusal}");
    assert_eq!(refusal.code(), "not_yet_valid");
    // Its token is not used up by that.
    site.join(&open, &token).await.expect("it joins when its clock is right");
}

#[tokio::test]
async fn a_directory_stays_with_its_host() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    site.join(&open, &site.token("db-a")).await.expect("it joins");
    let token = site.token("db-b");
    let error =
        join(&open.address, &token, &site.state_of("db-a"), &site.clock.wall()).await.expect_err("it is db-a's");
    assert!(error.to_string().contains("is the state of host db-a of site shop-a: give host db-b"), "{error}");
    // The same host may come again, and then has a new certificate.
    let old = site.file_of("db-a");
    let before = fs::read(&old).expect("it is there");
    site.join(&open, &site.token("db-a")).await.expect("it joins again");
    assert_ne!(before, fs::read(&old).expect("it is there"));
}

#[tokio::test]
async fn nobody_answers() {
    let site = Site::new("shop-a");
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let error = join(&address.to_string(), &site.token("db-a"), &site.state_of("db-a"), &site.clock.wall()).await;
    let error = error.expect_err("nobody is there");
    assert!(error.to_string().starts_with(&format!("the agent at {address} can't be reached: ")), "{error}");
}
