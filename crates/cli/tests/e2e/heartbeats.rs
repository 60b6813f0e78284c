//! A job that calls: heard, missed, and heard again; on the same machine and from others.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mainstay_api::Status;
use rustix::process::Signal;

use super::site::{Net, Site, until};

const PLAN: &str = "\
version: 2
site: { name: e2e, region: here, zone: desk }
state: state
mode: observe
allowances: { lateness: 1s }
components:
  copy:
    type: application_server
    location: { region: here, zone: rack-a }
    probes:
      - heartbeat: { name: nightly-copy, max_age: 2s, interval: 250ms, timeout: 250ms }
";

#[test]
fn a_job_that_falls_silent_is_down_until_it_calls_again() {
    let mut site = Site::new(|_, _| PLAN.to_owned());
    site.start_agent();
    site.until_status("the agent answers", |_| true);
    for _ in 0..2 {
        site.says(&["heartbeat", "nightly-copy"]).tells(0, &["heard nightly-copy"]);
        site.until_status("the job was heard", is("healthy"));
        site.until_status("its silence is noticed", is("down"));
    }
    site.says(&["heartbeat", "weekly-copy"]).tells(2, &["waits for no heartbeat `weekly-copy`"]);
    assert!(site.state().join("heartbeats/nightly-copy").exists(), "the call outlives the agent");
    site.stop_agent();
    site.says(&["heartbeat", "nightly-copy"]).tells(3, &["no agent runs"]);
}

const TOKEN: &str = "3f9c0b7d52e84a61";
const NEXT_TOKEN: &str = "a/b+c=d.e_f-g~h/0123";

/// The same, with an ear for other machines.
fn heard_from_afar(net: &Net, tls: &str) -> String {
    let proxy = net.proxy;
    format!("{PLAN}heartbeats: {{ listen: \"{proxy}\", token_file: tokens{tls} }}\n")
}

/// What curl is answered: the status, and the body.
fn curl(args: &[&str]) -> Option<(u16, String)> {
    let mut command = Command::new("curl");
    let output = command.args(["--silent", "--max-time", "8", "--write-out", "\n%{http_code}"]).args(args).output();
    let text = String::from_utf8(output.expect("curl starts").stdout).expect("its output is text");
    let (body, status) = text.rsplit_once('\n')?;
    let status = status.parse().ok().filter(|it| *it != 0)?;
    Some((status, body.to_owned()))
}

fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: curl is not installed");
    }
    found
}

fn is(health: &'static str) -> impl Fn(&Status) -> bool {
    move |it| it.components.iter().any(|it| it.health == health)
}

/// A certificate for an address and its key; what trusts it is the certificate itself.
fn certificate(dir: &Path, of: SocketAddr) {
    let made = rcgen::generate_simple_self_signed([of.ip().to_string()]).expect("made");
    for (name, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
        fs::write(dir.join(name), text).expect("written");
    }
}

#[test]
fn a_job_on_another_machine_is_heard_with_a_token_and_learns_nothing_without_one() {
    if !has_curl() {
        return;
    }
    let mut site = Site::new(|net, _| heard_from_afar(net, ""));
    fs::write(site.path().join("tokens"), format!("# of last year\n{TOKEN}\n")).expect("written");
    site.start_agent();
    let url = |path: &str| format!("http://{}{path}", site.net.proxy);
    let (copy, weekly) = (url("/heartbeats/nightly-copy"), url("/heartbeats/weekly-copy"));
    let good = format!("Authorization: Bearer {TOKEN}");
    let heard = (200, "{\"heard\":\"nightly-copy\"}\n".to_owned());
    until("it is heard", || curl(&["-H", &good, "-d", "the end of a log", &copy]).filter(|it| *it == heard));
    site.until_status("the job was heard", is("healthy"));
    site.until_status("its silence is noticed", is("down"));
    assert_eq!(curl(&[&format!("{copy}/{TOKEN}")]), Some(heard.clone()), "GET, and a token in the path");
    site.until_status("the job was heard again", is("healthy"));
    assert_eq!(curl(&["--head", "-H", &good, &copy]).map(|it| it.0), Some(200));

    // Whoever has no token learns nothing, of a name that there is and of one that there is not.
    let refused = curl(&[&copy]).expect("an answer");
    assert!(refused.0 == 401 && !refused.1.contains("nightly"), "{refused:?}");
    let wrong = format!("Authorization: Bearer {}", TOKEN.to_uppercase());
    for args in [vec![&*weekly], vec!["-H", &wrong, &copy], vec!["-H", &wrong, &weekly], vec![&format!("{copy}/x")]] {
        assert_eq!(curl(&args).as_ref(), Some(&refused), "{args:?}");
    }
    let (status, body) = curl(&["-H", &good, &weekly]).expect("an answer");
    assert!(status == 404 && body.contains("waits for no heartbeat `weekly-copy`"), "{body}");
    for path in ["/", "/v1/status", "/v1/heartbeats/nightly-copy", "/heartbeats"] {
        assert_eq!(curl(&["-H", &good, &url(path)]).map(|it| it.0), Some(404), "{path}");
    }
    assert_eq!(curl(&["-X", "DELETE", "-H", &good, &copy]).map(|it| it.0), Some(405));
    let long = "x".repeat(100_000);
    assert_eq!(curl(&["-H", &good, "-d", &long, &copy]).map(|it| it.0), Some(413));

    let status = site
        .until_status("the refusals are said", |it| it.trouble.iter().any(|it| it.contains("without a good token")));
    assert!(!format!("{status:?}").contains(TOKEN));
    for _ in 0..50 {
        curl(&[&copy]);
    }
    let log = site.whole_log("agent");
    assert_eq!(log.matches("without a good token").count(), 1, "{log}");

    fs::write(site.path().join("tokens"), NEXT_TOKEN).expect("written");
    let in_path = format!("{copy}/{NEXT_TOKEN}");
    until("the new token is taken", || curl(&[&in_path]).filter(|it| *it == heard));
    assert_eq!(curl(&["-H", &good, &copy]).map(|it| it.0), Some(401), "the old one is gone");
    assert!(!site.whole_log("agent").contains(NEXT_TOKEN));
    site.stop_agent();
}

#[test]
fn an_ear_over_tls_moves_with_the_plan_and_slow_callers_keep_nobody_out() {
    if !has_curl() {
        return;
    }
    let tls = ", tls: { cert_file: cert.pem, key_file: key.pem }";
    let mut site = Site::new(|net, _| heard_from_afar(net, tls));
    let (first, second) = (site.net.proxy, site.net.dns);
    certificate(site.path(), first);
    fs::write(site.path().join("tokens"), TOKEN).expect("written");
    site.start_agent();
    let ca = site.path().join("cert.pem").display().to_string();
    let call = |at: SocketAddr| curl(&["--cacert", &ca, &format!("https://{at}/heartbeats/nightly-copy/{TOKEN}")]);
    until("it is heard", || call(first).filter(|it| it.0 == 200));
    assert_eq!(
        curl(&[&format!("http://{first}/heartbeats/nightly-copy/{TOKEN}")]),
        None,
        "nothing is heard without TLS"
    );

    // More than there are places for, and each has begun to speak TLS.
    let idle: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut client = TcpStream::connect(first).expect("accepted");
            client.write_all(&[22, 3, 1, 2, 0, 1, 0]).expect("sent");
            client
        })
        .collect();
    assert_eq!(call(first).map(|it| it.0), Some(200));
    drop(idle);

    certificate(site.path(), second);
    site.edit_plan(|text| text.replace(&first.to_string(), &second.to_string()));
    site.signal_agent(Signal::HUP);
    until("it is heard at the new address", || call(second).filter(|it| it.0 == 200));
    assert!(TcpStream::connect(first).is_err(), "nobody listens at the old one");
    site.stop_agent();
}

#[test]
fn silence_does_not_count_while_nobody_could_be_heard() {
    let mut site = Site::new(|net, _| heard_from_afar(net, ""));
    let taken = TcpListener::bind(site.net.proxy).expect("a free port");
    site.start_agent();
    let status = site.until_status("both troubles are said", |it| {
        let of = |what: &str| it.trouble.iter().any(|it| it.starts_with("heartbeats at ") && it.contains(what));
        of("tokens: ") && of("can't be bound")
    });
    assert!(is("unknown")(&status), "{status:#?}");
    drop(taken);
    let missing = |it: &Status| it.trouble.iter().any(|it| it.contains("tokens: "));
    site.until_status("one of them is over", |it| {
        it.trouble.iter().all(|it| !it.contains("can't be bound")) && missing(it)
    });
    // Longer than the job may be silent, while the agent says that it asks.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        site.until_status("nobody takes it for down", is("unknown"));
    }
    fs::write(site.path().join("tokens"), TOKEN).expect("written");
    site.until_status("its silence counts", is("down"));
    site.stop_agent();
}
