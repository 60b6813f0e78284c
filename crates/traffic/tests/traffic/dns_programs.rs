//! What the programs say of us that people test a name server with: dig, kdig, delv, named-checkzone, dnsperf.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use mainstay_plan::routing::RouteEntry;

use crate::dns::{Resolver, with_records};
use crate::running::free_address;

const NAME: &str = "orders.db.internal";

/// The zone with records of every kind.
fn serving() -> (Resolver, RouteEntry) {
    let (mut resolver, route) = (Resolver::new(), with_records());
    resolver.serve(&[&route]);
    (resolver, route)
}

/// What a program prints, all of it; `None` where it isn't installed.
fn says(program: &str, args: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(program).args(args).output() else {
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// dig and its kin.
fn asks(program: &str, dns: SocketAddr, args: &str) -> Option<String> {
    let (at, port) = (format!("@{}", dns.ip()), dns.port().to_string());
    let args: Vec<&str> = [at.as_str(), "-p", port.as_str()].into_iter().chain(args.split(' ')).collect();
    says(program, &args)
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}

/// An answer with the fields of each record separated by one blank.
fn lines(text: &str) -> String {
    text.lines().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn dig_is_content() {
    let (resolver, _) = serving();
    let dig = |args: &str| {
        let text = asks("dig", resolver.dns, &format!("+tries=3 +time=5 +norecurse {args}"))?;
        for complaint in ["WARNING", "Warning", "mismatch", "malformed", "bad packet", "extra bytes"] {
            assert!(!text.contains(complaint), "{text}");
        }
        Some(lines(&text))
    };
    let Some(short) = dig(&format!("+short {NAME} A")) else { return };
    assert_eq!(short.trim(), "192.0.2.1");
    assert_eq!(dig(&format!("+short +tcp {NAME} A")).unwrap().trim(), "192.0.2.1");
    assert_eq!(dig(&format!("+short +noedns +nocookie {NAME} A")).unwrap().trim(), "192.0.2.1");

    let soa = format!("{NAME}. 7 IN SOA ns.{NAME}.");
    let nothing = dig(&format!("{NAME} AAAA")).unwrap();
    has(&nothing, &["status: NOERROR", "flags: qr aa;", "ANSWER: 0, AUTHORITY: 1", "EDNS: version: 0", &soa]);
    let nobody = dig(&format!("nobody.{NAME} A")).unwrap();
    has(&nobody, &["status: NXDOMAIN", "flags: qr aa;", "ANSWER: 0, AUTHORITY: 1", &soa]);
    // How long the two may be kept is the smaller of the record's own time and its last field (RFC 2308).
    let kept = nothing.lines().find(|it| it.starts_with(&soa)).and_then(|it| it.rsplit(' ').next()).unwrap();
    assert_eq!(kept, "7");

    let spelt = "oRdErS.Db.InTeRnAl.";
    has(&dig(&format!("{spelt} A")).unwrap(), &[&format!(";{spelt} IN A"), &format!("{spelt} 7 IN A 192.0.2.1")]);
    has(&dig("example.com A").unwrap(), &["status: REFUSED", "ANSWER: 0, AUTHORITY: 0"]);
    has(&dig("version.bind CH TXT").unwrap(), &["status: REFUSED"]);
    has(&dig(&format!("+edns=1 +noednsneg {NAME} A")).unwrap(), &["status: BADVERS"]);
    has(&dig(&format!("+ednsopt=65001:0a0b +ednsflags=0x80 {NAME} A")).unwrap(), &["192.0.2.1", "EDNS: version: 0"]);
    has(&dig(&format!("+dnssec {NAME} A")).unwrap(), &["flags: do;", "192.0.2.1"]);
    has(&dig(&format!("_pg._tcp.{NAME} SRV")).unwrap(), &[&format!("IN SRV 1 2 5432 {NAME}.")]);
    has(&dig(&format!("admin.{NAME} AAAA")).unwrap(), &["IN AAAA 2001:db8::7"]);
    has(
        &dig(&format!("db.{NAME} A")).unwrap(),
        &[&format!("db.{NAME}. 7 IN CNAME main.{NAME}."), &format!("{NAME}. 7 IN A 192.0.2.1")],
    );
}

#[test]
fn dig_comes_back_over_tcp_for_what_does_not_fit() {
    let (resolver, _) = serving();
    let dig = |args: &str| asks("dig", resolver.dns, &format!("+tries=3 +time=5 +norecurse {args} long.{NAME} TXT"));
    for args in ["+noedns +nocookie", "+bufsize=512", "+bufsize=1232", "+bufsize=4096"] {
        let Some(cut) = dig(&format!("+ignore {args}")) else { return };
        has(&cut, &["flags: qr aa tc;", "status: NOERROR"]);
        let size = cut.lines().find_map(|it| it.strip_prefix(";; MSG SIZE  rcvd: ")).unwrap();
        assert!(size.parse::<u32>().unwrap() <= 1232, "{cut}");
        has(&dig(args).unwrap(), &["Truncated, retrying in TCP mode", "flags: qr aa;", "ANSWER: 8,", "(TCP)"]);
    }
}

#[test]
fn kdig_is_content() {
    let (resolver, _) = serving();
    let kdig = |args: &str| {
        let text = asks("kdig", resolver.dns, &format!("+retry=3 +time=5 {args}"))?;
        // That it comes back over TCP is no complaint.
        let complaint = text.lines().find(|it| it.starts_with(";; WARNING") || it.starts_with(";; ERROR"));
        assert!(complaint.is_none_or(|it| it.contains("retrying over TCP")), "{text}");
        Some(lines(&text))
    };
    let Some(one) = kdig(&format!("{NAME} A")) else { return };
    has(&one, &["status: NOERROR", &format!("{NAME}. 7 IN A 192.0.2.1")]);
    // One connection, several questions; and what newer resolvers add to theirs.
    let two = kdig(&format!("+tcp +keepopen {NAME} A nobody.{NAME} A")).unwrap();
    has(&two, &["192.0.2.1", "status: NXDOMAIN"]);
    has(&kdig(&format!("+padding=128 +nsid +cookie {NAME} A")).unwrap(), &["status: NOERROR", "192.0.2.1"]);
    has(&kdig(&format!("+subnet=198.51.100.0/24 {NAME} A")).unwrap(), &["192.0.2.1"]);
    has(&kdig(&format!("+bufsize=512 long.{NAME} TXT")).unwrap(), &["status: NOERROR", "ANSWER: 8;"]);
}

#[test]
fn delv_is_content() {
    let (resolver, _) = serving();
    // Without a trust anchor: nothing of ours is signed.
    let Some(address) = asks("delv", resolver.dns, &format!("-i {NAME} A")) else { return };
    has(&lines(&address), &["; authoritative", &format!("{NAME}. 7 IN A 192.0.2.1")]);
    has(&lines(&asks("delv", resolver.dns, &format!("-i {NAME} AAAA")).unwrap()), &["negative response", "SOA"]);
    let nobody = asks("delv", resolver.dns, &format!("-i nobody.{NAME} A")).unwrap();
    has(&lines(&nobody), &["resolution failed: ncache nxdomain"]);
}

#[test]
fn a_zone_with_every_kind_of_record_is_sound_to_others() {
    let (mut resolver, route) = (Resolver::new(), with_records());
    let secondary = free_address();
    resolver.serve_and_copy(&[&route], &[secondary]);
    let transfer = format!("-b {} +onesoa {NAME} AXFR", secondary.ip());
    let Some(zone) = asks("dig", resolver.dns, &transfer) else { return };
    has(&zone, &["_pg._tcp.orders.db.internal.", "2001:db8::7"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zone");
    fs::write(&file, &zone).unwrap();
    let args = ["-i", "local", "-k", "fail", "-r", "fail", "-D", &format!("{NAME}."), &file.display().to_string()];
    let Some(checked) = says("named-checkzone", &args) else { return };
    has(&checked, &["loaded serial 1", "OK"]);
    let copied = asks("kdig", resolver.dns, &format!("-b {} {NAME} AXFR", secondary.ip()));
    let records = |text: &str| text.lines().filter(|it| !it.is_empty() && !it.starts_with(';')).count();
    if let Some(copied) = copied {
        // Its transfer ends with the SOA, as the protocol has it.
        assert_eq!(records(&copied), records(&zone) + 1, "{copied}");
    }
}

#[test]
fn dnsperf_loses_nothing() {
    let (resolver, _) = serving();
    let dir = tempfile::tempdir().unwrap();
    let questions = dir.path().join("questions");
    fs::write(&questions, format!("{NAME} A\n{NAME} SOA\nnobody.{NAME} A\nadmin.{NAME} AAAA\n")).unwrap();
    let (ip, port) = (resolver.dns.ip().to_string(), resolver.dns.port().to_string());
    let questions = questions.display().to_string();
    for mode in ["udp", "tcp"] {
        // Once through the questions, two hundred times: it ends by itself.
        let args = ["-s", &ip, "-p", &port, "-m", mode, "-d", &questions, "-n", "200", "-c", "4", "-t", "10", "-e"];
        let Some(said) = says("dnsperf", &args) else { return };
        let said = lines(&said);
        has(&said, &["Queries completed: 800 (100.00%)", "Queries lost: 0 (0.00%)"]);
        has(&said, &["NOERROR 600 (75.00%)", "NXDOMAIN 200 (25.00%)"]);
    }
}
