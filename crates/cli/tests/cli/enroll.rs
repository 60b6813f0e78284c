//! `mainstay enroll`: an authority, tokens, joining, and taking back.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use mainstay_wire::reception::Reception;
use mainstay_wire::trust::{Authority, Terms, Wall};
use tempfile::TempDir;

use super::golden::golden;
use super::{Said, mainstay, on, within};

const PLAN: &str = "\
version: 2
site: { name: shop-a, region: eu, zone: a }
state: ./agent
link: { listen: \"10.0.0.5:7400\" }
hosts:
  db-a: { region: eu, zone: b }
  db-b: { region: eu, zone: c }
components:
  orders-db:
    type: database
    location: { region: eu, zone: a }
    criticality: standard
    probes:
      - tcp: { address: \"127.0.0.1:5432\" }
";

fn site() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("plan.yaml"), PLAN).expect("it is written");
    let said = within(dir.path(), &["enroll", "init", "plan.yaml", "--address", "127.0.0.1"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.out.starts_with("site shop-a has an authority, until 20"), "{}", said.out);
    let state = dir.path().join("agent");
    (dir, state)
}

fn token(state: &Path, host: &str) -> String {
    let said = on(state, &["enroll", "token", host, "--valid", "10m"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(said.err.starts_with("valid until 20") && said.err.contains(&format!("for host {host}")), "{}", said.err);
    said.out.trim_end().to_owned()
}

/// The agent's listener, until the test ends; where it is.
fn agent(state: &Path) -> String {
    let authority = Authority::open(state, Terms::default(), &Wall::system()).expect("it is there");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    listener.set_nonblocking(true).expect("it is a socket");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let reception = Reception::new(Arc::new(authority)).expect("the agent has a certificate");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let _none = reception.receive(stream, |_| {}).await;
            }
        });
    });
    address
}

fn join(dir: &Path, address: &str, token: &str) -> Said {
    within(dir, &["enroll", "join", "--agent", address, "--token", token, "--state", "host"])
}

#[test]
fn a_token_is_made_where_the_plan_has_its_state() {
    let (dir, state) = site();
    let said = within(dir.path(), &["enroll", "token", "db-b", "--plan", "plan.yaml"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert_eq!(on(&state, &["enroll", "list", "--json"]).json()["hosts"][0]["host"], "db-b");
}

#[test]
fn a_machine_becomes_a_host_and_is_one_no_more() {
    let (dir, state) = site();
    let address = agent(&state);
    let said = on(&state, &["enroll", "list"]);
    assert!(said.out.ends_with("no host has joined: `mainstay enroll token HOST` lets one\n"), "{}", said.out);
    let token = token(&state, "db-a");
    assert_eq!(on(&state, &["enroll", "list", "--json"]).json()["hosts"][0]["state"], "invited");

    let said = join(dir.path(), &address, &token);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:#?}");
    assert!(said.out.starts_with("this is host db-a of site shop-a, by a certificate until 20"), "{}", said.out);
    let file = dir.path().join("host/pki/identity.pem");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let listed = on(&state, &["enroll", "list", "--json"]).json();
    assert_eq!((&listed["hosts"][0]["host"], &listed["hosts"][0]["state"]), (&"db-a".into(), &"joined".into()));
    assert_eq!(listed["hosts"].as_array().map(Vec::len), Some(1), "{listed}");

    let said = on(&state, &["enroll", "token", "db-a"]);
    assert!(said.err.contains("db-a has joined already, and what it has stays good"), "{}", said.err);

    let again = join(dir.path(), &address, &token);
    assert_eq!((again.code, again.out.as_str()), (Some(4), ""), "{again:#?}");
    assert!(again.err.starts_with("error: the agent refuses: the token for host db-a was used at 20"), "{}", again.err);

    let said = on(&state, &["enroll", "revoke", "db-a"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "taken back: 1 certificate, 1 open token\n"));
    assert_eq!(on(&state, &["enroll", "list", "--json"]).json()["hosts"][0]["state"], "revoked");
    let said = on(&state, &["enroll", "revoke", "db-a"]);
    said.fails(
        1,
        "error: host `db-a` has no certificate and no open token\nhelp: `mainstay enroll list` names those that have\n",
    );
}

#[test]
fn a_token_is_read_from_a_pipe() {
    let (dir, state) = site();
    let address = agent(&state);
    let token = token(&state, "db-a");
    let args =
        ["enroll", "join", "--agent", "127.0.0.1:1", "--agent", &address, "--token", "-", "--state", "host", "--json"];
    let mut child = mainstay(&args)
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("it is piped").write_all(format!("{token}\n").as_bytes()).expect("it reads");
    let said = Said::from(child.wait_with_output().expect("it ends"));
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert_eq!(said.json()["host"], "db-a");
}

#[test]
fn making_it_again_changes_nothing_and_another_site_is_refused() {
    let (dir, state) = site();
    let whole = fs::read(state.join("pki/authority.pem")).expect("it is there");
    let said = within(dir.path(), &["enroll", "init", "plan.yaml", "--address", "127.0.0.1"]);
    assert!(said.out.starts_with("site shop-a has an authority already, until 20"), "{}", said.out);
    let said = within(dir.path(), &["enroll", "init", "plan.yaml", "--address", "agent.shop.internal"]);
    assert_eq!(said.err, "");
    assert!(said.out.starts_with("the agent of site shop-a has a new certificate: "), "{}", said.out);
    fs::write(dir.path().join("other.yaml"), PLAN.replace("shop-a", "shop-b")).expect("it is written");
    let said = within(dir.path(), &["enroll", "init", "other.yaml"]);
    assert_eq!(said.code, Some(4));
    assert!(said.err.contains("holds the authority of site shop-a, not of shop-b"), "{}", said.err);
    assert_eq!(fs::read(state.join("pki/authority.pem")).expect("it is there"), whole);
}

#[test]
fn an_authority_is_replaced_in_three_steps() {
    let (dir, state) = site();
    let address = agent(&state);
    assert_eq!(join(dir.path(), &address, &token(&state, "db-a")).code, Some(0));
    let step = |args: &[&str]| on(&state, &[&["enroll", "rotate"], args].concat());
    assert_eq!(step(&["--json"]).json()["step"], "begun");
    let said = step(&[]);
    said.fails(
        4,
        "error: a host has not renewed since the last step: db-a\nhelp: wait until they have, revoke those that are gone, or \
         leave them behind with `--leave-behind`\n",
    );
    let said = step(&["--leave-behind"]);
    assert!(said.out.starts_with("step 2 of 3: the other authority signs from now on"), "{said:#?}");
    assert_eq!(step(&["--leave-behind", "--json"]).json()["step"], "finished");
    // The agent that runs has seen it: whoever joins now knows the new one.
    assert_eq!(join(dir.path(), &address, &token(&state, "db-a")).code, Some(0));
}

#[test]
fn mistakes_are_told_apart() {
    let (dir, state) = site();
    let empty = dir.path().join("empty");
    let said = on(&empty, &["enroll", "token", "db-a"]);
    assert_eq!(said.code, Some(3));
    assert!(
        said.err.contains("there is no authority") && said.err.contains("mainstay enroll init PLAN"),
        "{}",
        said.err
    );

    let said = on(&state, &["enroll", "token", "db a"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("`db a` is no name for a site or a host"), "{}", said.err);

    let said = within(dir.path(), &["enroll", "token", "db-c", "--plan", "plan.yaml", "--state", "agent"]);
    said.fails(2, "error: plan.yaml has no host `db-c`\nhelp: its `hosts` has db-a, db-b\n");
    let said = within(dir.path(), &["enroll", "token", "db-b", "--plan", "plan.yaml", "--state", "agent"]);
    assert!(said.err.contains("There: `mainstay enroll join --agent 10.0.0.5:7400 --token TOKEN"), "{said:#?}");

    let said = join(dir.path(), "127.0.0.1:1", "hvs.CAESI");
    said.fails(2, "error: this is no token: one begins with `mainstay-1-`\n");
    let token = token(&state, "db-a");
    let said = join(dir.path(), "127.0.0.1:1", &token[..token.len() - 3]);
    said.fails(2, "error: the token is damaged: copy the whole line that `mainstay enroll token` printed\n");
    let said = join(dir.path(), "127.0.0.1:1", &token);
    assert_eq!(said.code, Some(3));
    assert!(
        said.err.starts_with("error: the agent at 127.0.0.1:1 can't be reached: Connection refused"),
        "{}",
        said.err
    );
    let said = within(dir.path(), &["enroll", "join", "--agent", "127.0.0.1:1", "--token", &token]);
    assert!(said.code == Some(2) && said.err.contains("say it with `--state DIR`"), "{said:#?}");

    fs::set_permissions(state.join("pki/authority.pem"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    let said = on(&state, &["enroll", "list"]);
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("is open to other users (mode 0644)") && said.err.contains("chmod 600"), "{}", said.err);
}

#[test]
fn it_explains_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    for command in [&["enroll"][..], &["enroll", "init"], &["enroll", "token"], &["enroll", "join"]] {
        let said = within(dir.path(), &[command, &["--help"]].concat());
        assert_eq!(said.code, Some(0), "{said:#?}");
        assert!(said.out.contains("Examples:"), "{}", said.out);
        golden(&format!("help-{}.txt", command.join("-")), &said.out);
    }
}
