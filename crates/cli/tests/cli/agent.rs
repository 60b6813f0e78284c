//! Commands that ask the agent, with an agent that says what the test wants, or with none.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use mainstay_api::{Accepted, Command, Recoveries, SOCKET};
use tempfile::TempDir;

use super::{Said, mainstay, on, samples};

/// Answers every request with this, and hands out what was asked.
fn agent(status: u16, body: String) -> (TempDir, Receiver<(String, String)>) {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(dir.path().join(SOCKET)).expect("binds");
    let (asked, requests) = sync_channel(64);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut head = String::new();
            while reader.read_line(&mut head).is_ok_and(|it| it > 2) {}
            let header =
                |name: &str| head.lines().find_map(|it| it.to_lowercase().strip_prefix(name).map(ToOwned::to_owned));
            let length = header("content-length: ").and_then(|it| it.trim().parse().ok()).unwrap_or(0);
            let mut given = vec![0; length];
            reader.read_exact(&mut given).expect("the body");
            let line = head.lines().next().unwrap_or_default().to_owned();
            asked.send((line, String::from_utf8(given).expect("is text"))).expect("the test lives");
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _gone = stream.write_all((head + &body).as_bytes());
        }
    });
    (dir, requests)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("is JSON")
}

fn problem(status: u16, code: &str) -> Said {
    let body = format!(r#"{{"code":"{code}","message":"recovery r1 is not open"}}"#);
    let (dir, _requests) = agent(status, body);
    on(dir.path(), &["abort", "r1"])
}

#[test]
fn status_says_no_while_something_is_down() {
    let mut status = samples::status();
    let (dir, requests) = agent(200, json(&status));
    let said = on(dir.path(), &["status"]);
    assert_eq!((said.code, said.err.as_str()), (Some(1), ""));
    assert!(said.out.contains("mainstay approve r52 --override witnesses"), "{}", said.out);
    assert_eq!(requests.recv().expect("it asked").0, "GET /v1/status HTTP/1.1");
    assert_eq!(on(dir.path(), &["status", "session-cache"]).code, Some(0));
    on(dir.path(), &["status", "cache"])
        .fails(2, "error: there is no component `cache` in the plan\nhelp: there are `orders-db`, `session-cache`\n");
    assert_eq!(on(dir.path(), &["status", "--json"]).json()["journal"]["seq"], 57);

    status.components.remove(0);
    let (dir, _requests) = agent(200, json(&status));
    assert_eq!(on(dir.path(), &["status"]).code, Some(0));
}

#[test]
fn probes_are_listed_and_those_of_a_name_shown_with_results() {
    let (dir, requests) = agent(200, json(&samples::probes()));
    let said = on(dir.path(), &["probes"]);
    assert!(said.code == Some(0) && said.out.contains("session-cache/tcp"), "{said:#?}");
    assert_eq!(requests.recv().expect("it asked").0, "GET /v1/probes HTTP/1.1");
    let said = on(dir.path(), &["probes", "orders-db/http", "--last", "1", "--json"]);
    assert_eq!(said.json()["probes"][0]["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(requests.recv().expect("it asked").0, "GET /v1/probes/orders-db/http HTTP/1.1");

    let none = mainstay_api::Probes { now_ns: samples::NOW, probes: Vec::new(), names: Vec::new() };
    let (dir, _requests) = agent(200, json(&none));
    on(dir.path(), &["probes", "cache"]).fails(
        2,
        "error: there is no probe `cache` in the plan, and nothing of that name that has one\nhelp: `mainstay probes` lists them\n",
    );
}

#[test]
fn recoveries_are_listed_and_shown() {
    let all = Recoveries { now_ns: samples::NOW, recoveries: vec![samples::recovery()] };
    let (dir, _requests) = agent(200, json(&all));
    let said = on(dir.path(), &["recoveries"]);
    assert!(said.code == Some(0) && said.out.contains("failover_to_standby to"), "{said:#?}");
    assert_eq!(on(dir.path(), &["recoveries", "--json"]).json()["recoveries"][0]["id"], "r52");

    let (dir, requests) = agent(200, json(&samples::recovery()));
    let said = on(dir.path(), &["recoveries", "show", "r52"]);
    assert!(said.out.contains("converge"), "{said:#?}");
    assert_eq!(requests.recv().expect("it asked").0, "GET /v1/recoveries/r52 HTTP/1.1");
}

#[test]
fn operators_are_heard() {
    let (dir, requests) = agent(200, json(&Accepted { seq: 57 }));
    let text = |it: &str| it.to_owned();
    let no_reason = || text("no reason given");
    let orders: [(&[&str], Command); 15] = [
        (
            &["recover", "db", "--reason", "new disk"],
            Command::Recover { component: text("db"), reason: text("new disk") },
        ),
        (
            &["approve", "r1", "--override", "witnesses", "--override", "rpo", "--outcome", "not-done"],
            Command::Approve {
                recovery: text("r1"),
                overrides: vec![text("witnesses"), text("rpo")],
                outcome: Some(false),
                reason: no_reason(),
            },
        ),
        (&["abort", "r1"], Command::Abort { recovery: text("r1"), reason: no_reason() }),
        (
            &["pause", "db", "--for", "1h30m", "--reason", "update"],
            Command::Pause {
                component: Some(text("db")),
                for_ns: 5_400_000_000_000,
                reason: text("update"),
                owner: None,
            },
        ),
        (
            &["pause", "--for", "5s", "--reason", "update"],
            Command::Pause { component: None, for_ns: 5_000_000_000, reason: text("update"), owner: None },
        ),
        (&["resume"], Command::Resume { component: None }),
        (
            &["pause", "r7", "--reason", "let me look"],
            Command::PauseRecovery { recovery: text("r7"), reason: text("let me look") },
        ),
        (&["resume", "r7"], Command::ResumeRecovery { recovery: text("r7") }),
        (
            &["skip", "r7", "--reason", "undone by hand"],
            Command::Skip { recovery: text("r7"), reason: text("undone by hand") },
        ),
        (&["retry", "r7"], Command::Retry { recovery: text("r7"), reason: no_reason() }),
        (
            &["approve", "db", "--in-advance", "--for", "8h", "--reason", "on the ferry"],
            Command::ApproveInAdvance {
                component: text("db"),
                for_ns: 28_800_000_000_000,
                reason: text("on the ferry"),
            },
        ),
        (&["approve", "db", "--revoke"], Command::Revoke { component: text("db") }),
        (
            &["adopt", "db-a", "--address", "10.0.1.99"],
            Command::Adopt {
                instance: text("db-a"),
                role: None,
                anyway: false,
                accept: Vec::new(),
                address: "10.0.1.99".parse().ok(),
                reason: no_reason(),
            },
        ),
        (
            &["adopt", "db-a"],
            Command::Adopt {
                instance: text("db-a"),
                role: None,
                anyway: false,
                accept: Vec::new(),
                address: None,
                reason: no_reason(),
            },
        ),
        (
            &["acknowledge", "n7", "--reason", "on my way"],
            Command::Acknowledge { what: text("n7"), reason: text("on my way") },
        ),
    ];
    for (args, command) in orders {
        let said = on(dir.path(), args);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args:?}");
        assert!(said.out.starts_with("recorded as 57\n") && said.out.lines().count() == 2, "{said:#?}");
        let (line, body) = requests.recv().expect("it asked");
        assert_eq!(line, "POST /v1/commands HTTP/1.1");
        assert_eq!(serde_json::from_str::<Command>(&body).expect("is a command"), command);
    }
    assert_eq!(on(dir.path(), &["resume", "db", "--json"]).json()["seq"], 57);
}

#[test]
fn a_refusal_has_its_own_exit_code() {
    problem(409, "refused").fails(4, "error: recovery r1 is not open\n");
    problem(404, "not_found").fails(2, "error: recovery r1 is not open\n");
    problem(400, "bad_request").fails(2, "error: recovery r1 is not open\n");
    problem(503, "unavailable").fails(3, "error: recovery r1 is not open\n");
}

#[test]
fn an_answer_that_makes_no_sense_is_said() {
    for (status, body) in [(200, "{}"), (200, "<html>"), (500, "oops")] {
        let (dir, _requests) = agent(status, body.to_owned());
        let said = on(dir.path(), &["status"]);
        assert_eq!((said.code, said.out.as_str()), (Some(3), ""));
        assert!(said.err.contains("does not understand") && said.err.contains("help: "), "{}", said.err);
    }
}

#[test]
fn nobody_there_is_said_exactly() {
    let dir = tempfile::tempdir().expect("a directory");
    let err = |state: &Path| {
        let said = on(state, &["status"]);
        assert_eq!((said.code, said.out.as_str()), (Some(3), ""));
        said.err.replace(&dir.path().display().to_string(), "DIR")
    };
    assert_eq!(
        err(&dir.path().join("none")),
        "error: there is no state directory `DIR/none`\n\
         help: start an agent with `mainstay run FILE`, or say where its state directory is with `--state DIR` or \
         MAINSTAY_STATE\n"
    );
    assert_eq!(
        err(dir.path()),
        "error: no agent runs on the state directory `DIR`\n\
         help: start it with `mainstay run FILE`; what it did before is in `mainstay journal show`\n"
    );
    drop(UnixListener::bind(dir.path().join(SOCKET)).expect("binds"));
    assert!(err(dir.path()).contains("has ended\nhelp: start it again"), "{}", err(dir.path()));
    fs::write(dir.path().join("file"), "").expect("writes");
    assert_eq!(on(&dir.path().join("file"), &["status"]).code, Some(2));
    assert_eq!(on(&dir.path().join("long".repeat(40)), &["status"]).code, Some(2));
}

#[test]
fn somebody_elses_agent_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("changes the mode");
    let state = dir.path().join("state");
    fs::create_dir(&state).expect("is made");
    let _listener = UnixListener::bind(state.join(SOCKET)).expect("binds");
    let mut command = mainstay(&["status"]);
    command.env("MAINSTAY_STATE", &state);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o000)).expect("changes the mode");
    if fs::read_dir(&state).is_ok() {
        // We are root, whom no mode keeps out: ask as nobody, from where nobody may read.
        let program = dir.path().join("mainstay");
        // By another process: one that is started meanwhile would inherit our open file, and a file that is open can't be run.
        let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_mainstay")).arg(&program).status();
        assert!(copied.is_ok_and(|it| it.success()), "it is copied");
        command = std::process::Command::new(program);
        command.arg("status").env("MAINSTAY_STATE", &state).current_dir("/").uid(65534).gid(65534);
    }
    let said = Said::from(command.output().expect("it starts"));
    assert_eq!((said.code, said.out.as_str()), (Some(3), ""), "{said:#?}");
    assert!(said.err.starts_with("error: no permission to talk to the agent at"), "{}", said.err);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("changes the mode");
}

#[test]
fn watch_tells_changes_and_outlives_the_agent() {
    let (dir, requests) = agent(200, json(&samples::status()));
    let mut child = mainstay(&["watch", "--interval", "20ms"])
        .env("MAINSTAY_STATE", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|it| it.expect("is text"));
    let mut until = |part: &str| lines.find(|it| it.contains(part)).unwrap_or_else(|| panic!("never said: {part}"));
    until("agent: runs as process 4711");
    until("orders-db: down, is orders-db; r52 waits: ");
    until("traffic: epoch 4");
    // It asks on and says nothing, for nothing changes.
    for _ in 0..5 {
        requests.recv().expect("it asks on");
    }
    fs::rename(dir.path().join(SOCKET), dir.path().join("away")).expect("moves");
    until("agent: can't be reached: no agent runs");
    fs::rename(dir.path().join("away"), dir.path().join(SOCKET)).expect("moves");
    until("agent: runs as process 4711");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it lives");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
