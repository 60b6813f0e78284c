//! `kill -9` in the middle of joining: of the agent, and of the host.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::trust::{AskError, Authority, FileError, Identity, Terms, Wall, join};

use crate::site::{HOUR, open};

const ROUNDS: u32 = 24;
const LAST: u32 = ROUNDS - 1;

/// This very test program, doing one thing until it is killed.
fn start(what: &str, state: &Path, more: &[(&str, &str)]) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().expect("it has a path"))
        .args(["--exact", what, "--ignored", "--nocapture"])
        .env("TRUST_STATE", state)
        .envs(more.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    (child, out)
}

fn state() -> std::path::PathBuf {
    std::env::var_os("TRUST_STATE").expect("another test starts this one").into()
}

/// The rest of the line that begins so.
fn line(out: &mut BufReader<ChildStdout>, begins: &str) -> String {
    for line in out.lines() {
        let line = line.expect("text");
        // The test harness writes its own words before ours.
        if let Some((_, rest)) = line.split_once(begins) {
            return rest.to_owned();
        }
    }
    panic!("it ended without saying `{begins}`")
}

fn kill(child: &mut Child) {
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
}

/// When to kill, so that each test sees a kill before the first byte, one after the last, and most in between.
enum Moment {
    AtOnce,
    After(Duration),
    WhenDone,
}

fn moment(round: u32, whole: Duration) -> Moment {
    match round {
        0 | LAST => Moment::WhenDone,
        1 => Moment::AtOnce,
        _ => Moment::After(whole * round * 3 / (ROUNDS * 2)),
    }
}

#[tokio::test]
#[ignore = "a process that another test starts and kills"]
async fn an_agent_until_it_is_killed() {
    let authority = Authority::open(&state(), Terms::default(), &Wall::system()).expect("it is there");
    let open = open(Arc::new(authority)).await;
    println!("listens at {}", open.address);
    std::future::pending::<()>().await;
}

#[tokio::test]
#[ignore = "a process that another test starts and kills"]
async fn a_host_until_it_is_killed() {
    let var = |name| std::env::var(name).expect("another test starts this one");
    let token = var("TRUST_TOKEN").parse().expect("a token");
    println!("joins now");
    let _ = join(&var("TRUST_AGENT"), &token, &state(), &Wall::system()).await;
    println!("is done");
}

#[tokio::test]
async fn an_agent_that_is_killed_lets_no_token_work_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("agent");
    let wall = Wall::system();
    let (authority, _) = Authority::create(&state, "shop-a", &[], Terms::default(), &wall).expect("it is made");
    let (mut whole, mut worked, mut spent, mut cut) = (Duration::ZERO, 0, 0, 0);
    for round in 0..ROUNDS {
        let name = format!("db-{round}");
        let (token, _) = authority.invite(&name, HOUR).expect("a token");
        let (mut agent, mut out) = start("killed::an_agent_until_it_is_killed", &state, &[]);
        let address = line(&mut out, "listens at ");
        let began = std::time::Instant::now();
        let mut joining = {
            let (token, state, wall) = (token.clone(), dir.path().join(&name), wall.clone());
            tokio::spawn(async move { join(&address, &token, &state, &wall).await })
        };
        let first = match moment(round, whole) {
            Moment::WhenDone => Some((&mut joining).await),
            Moment::AtOnce => None,
            Moment::After(time) => {
                tokio::time::sleep(time).await;
                None
            }
        };
        kill(&mut agent);
        // The first one, that goes well, says how long that takes.
        if round == 0 {
            whole = began.elapsed();
        }
        let first = match first {
            Some(first) => first.expect("no panic"),
            None => joining.await.expect("no panic"),
        };
        let (mut agent, mut out) = start("killed::an_agent_until_it_is_killed", &state, &[]);
        let second = join(&line(&mut out, "listens at "), &token, &dir.path().join(&name), &wall).await;
        kill(&mut agent);
        match (first, second) {
            // Nothing had happened.
            (Err(_), Ok(_)) => worked += 1,
            (Err(_), Err(AskError::Told { code, .. })) if code == "token_used" => cut += 1,
            (Ok(_), Err(AskError::Told { code, .. })) if code == "token_used" => spent += 1,
            (first, second) => panic!("round {round}: {first:?}, then {second:?}"),
        }
        let known = authority.register().all().expect("all of it can be read");
        let given = known.iter().filter(|it| it.host == name).map(|it| it.certificates.len()).sum::<usize>();
        assert!(given <= 1, "round {round}: {given} certificates for one token");
    }
    println!("killed before the token was used: {worked}, in the middle: {cut}, after: {spent}");
    assert!(worked > 0 && spent > 0, "no kill came early, or none came late");
}

#[tokio::test]
async fn a_host_that_is_killed_has_a_whole_identity_or_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let wall = Wall::system();
    let (authority, _) =
        Authority::create(&dir.path().join("agent"), "shop-a", &[], Terms::default(), &wall).expect("it is made");
    let authority = Arc::new(authority);
    let open = open(Arc::clone(&authority)).await;
    let (mut whole, mut without, mut with) = (Duration::ZERO, 0, 0);
    for round in 0..ROUNDS {
        let name = format!("db-{round}");
        let state = dir.path().join(&name);
        let token = authority.invite(&name, HOUR).expect("a token").0.to_string();
        let more = [("TRUST_TOKEN", token.as_str()), ("TRUST_AGENT", open.address.as_str())];
        let (state_there, more) = (state.clone(), more.map(|(name, value)| (name, value.to_owned())));
        let killed = tokio::task::spawn_blocking(move || {
            let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
            let (mut host, mut out) = start("killed::a_host_until_it_is_killed", &state_there, &more);
            let mut joined = Duration::ZERO;
            match moment(round, whole) {
                Moment::AtOnce => {}
                Moment::After(time) => {
                    line(&mut out, "joins now");
                    std::thread::sleep(time);
                }
                Moment::WhenDone => {
                    line(&mut out, "joins now");
                    let began = std::time::Instant::now();
                    line(&mut out, "is done");
                    joined = began.elapsed();
                }
            }
            kill(&mut host);
            joined
        });
        let joined = killed.await.expect("no panic");
        if round == 0 {
            whole = joined;
        }
        match Identity::of_host(&state, &wall) {
            Ok(identity) => {
                assert_eq!(identity.me().name, name);
                identity.renew(&open.address).await.expect("it is a host like all others");
                with += 1;
            }
            Err(FileError::Missing { .. }) => without += 1,
            Err(error) => panic!("round {round}: {error}"),
        }
        // Whatever was left behind is no hindrance.
        let (token, _) = authority.invite(&name, HOUR).expect("a token");
        join(&open.address, &token, &state, &wall).await.expect("it joins with a new token");
    }
    println!("killed before it had an identity: {without}, after: {with}");
    assert!(without > 0 && with > 1, "no kill came early, or none came late");
}
