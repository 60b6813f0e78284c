//! A disk that is really full: a small tmpfs as the state directory, in a mount namespace of our own.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mainstay_api::Status;
use mainstay_store::journal::FALLBACK_FILE;
use mainstay_store::{Fallback, Reader};
use rustix::process::Signal;

use super::mistakes::skipped;
use super::plans;
use super::site::{ORDERS, Site, mainstay, serves_newest, until};

/// Room for the journal, its reserve of 8 MiB, and as much again.
const SIZE: &str = "24m";

/// Runs a test that is ignored otherwise in a mount namespace of its own.
fn in_namespace(inner: &str) {
    let flags = ["-m", "--propagation", "private"];
    let may = Command::new("unshare").args(flags).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    if !may.is_ok_and(|it| it.status.success()) {
        return skipped("no permission to mount a tmpfs in a mount namespace (unshare -m)");
    }
    let mut command = Command::new("unshare");
    command.args(flags).arg(std::env::current_exe().expect("this program"));
    command.args([&format!("full_disk::{inner}"), "--exact", "--ignored", "--nocapture"]);
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn on_a_full_disk_everything_goes_on_with_the_reserve() {
    in_namespace("inner_everything_goes_on");
}

#[test]
fn on_a_full_disk_routes_still_change_when_the_journal_needs_no_space() {
    in_namespace("inner_routes_change");
}

#[test]
fn a_full_disk_at_the_start_is_said() {
    in_namespace("inner_it_is_said");
}

#[test]
fn without_its_journal_an_exclusive_takeover_waits_for_a_person() {
    in_namespace("inner_it_waits");
}

#[test]
fn where_the_plan_says_so_a_takeover_goes_on_without_the_journal() {
    in_namespace("inner_it_proceeds");
}

/// Takes all the space that is left.
fn fill(site: &Site) {
    let mut file = File::options().append(true).create(true).open(filler(site)).expect("opens");
    while file.write_all(&[1; 4096]).is_ok() {}
}

fn filler(site: &Site) -> PathBuf {
    site.state().join("someone-elses-file")
}

/// A site with a small disk, on which all is well.
fn running(plan: impl FnOnce(String) -> String) -> Site {
    let mut site = Site::new(|net, dir| plan(plans::orders(net, dir)));
    site.mount_state(SIZE);
    site.start_servers(&ORDERS);
    site.start_agent();
    site.until_whole();
    site
}

/// Fills the disk again and again until the journal is lost, and then frees it.
fn lose_the_journal(site: &mut Site) -> Status {
    site.expect_errors();
    let lost = until("the journal is lost", || {
        fill(site);
        // A record has to be written for anyone to notice.
        let _answered_or_not = site.says(&["pause", "orders", "--for", "1h", "--reason", "to write"]);
        site.status().filter(|it| it.journal.lost.is_some())
    });
    fs::remove_file(filler(site)).expect("it is there");
    site.says(&["resume", "orders"]).tells(0, &["recorded as"]);
    site.says(&["status"]).tells(0, &["disk is full"]);
    lost
}

/// What the second file holds, once it holds such a record.
fn until_in_second_file(site: &Site, kind: &str) {
    until(&format!("the second file holds `{kind}`"), || {
        let records = Fallback::read(&site.state()).unwrap_or_default();
        records.iter().any(|it| it.entry.kind == kind).then_some(())
    });
}

#[test]
#[ignore = "runs inside on_a_full_disk_everything_goes_on_with_the_reserve"]
fn inner_everything_goes_on() {
    let mut site = running(|it| it);
    assert!(site.state().join("reserve").exists());
    fill(&site);
    let pid = site.signal_traffic(Signal::KILL);
    site.until_status("another traffic process serves", |it| {
        serves_newest(it) && it.traffic.as_ref().is_some_and(|it| it.pid.is_some_and(|it| it != pid))
    });
    site.kill_agent();
    site.start_agent();
    site.until_whole();
    site.kill_server("orders");
    site.until_owned_by("orders", "orders-b");
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders-b"));
    assert!(!site.state().join("reserve").exists(), "it was given up for this");
    site.says(&["status"]).tells(0, &["the disk is full", "free some"]);
    assert!(!site.state().join(FALLBACK_FILE).exists(), "the journal was never lost");
    site.stop_agent();
    site.check_journal();
}

#[test]
#[ignore = "runs inside on_a_full_disk_routes_still_change_when_the_journal_needs_no_space"]
fn inner_routes_change() {
    let mut site = running(|it| it);
    // So many records that the log has been moved into the file and is written from its beginning again, over itself.
    let moved = || fs::metadata(site.state().join("journal.db")).is_ok_and(|it| it.len() > 1 << 17);
    while !moved() {
        site.says(&["pause", "--for", "1h", "--reason", &"long".repeat(4000)]).tells(0, &["recorded as"]);
    }
    site.says(&["resume"]).tells(0, &["recorded as"]);
    fill(&site);
    site.kill_server("orders");
    site.until_owned_by("orders", "orders-b");
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders-b"));
    site.stop_agent();
    site.check_journal();
}

#[test]
#[ignore = "runs inside a_full_disk_at_the_start_is_said"]
fn inner_it_is_said() {
    let mut site = Site::new(plans::orders);
    site.mount_state(SIZE);
    fill(&site);
    let said = mainstay(site.path(), &["run", "plan.yaml"]);
    said.tells(3, &["journal", "the disk is full", "free about", "another one as `state`"]);
    fs::remove_file(filler(&site)).expect("it is there");
    site.start_servers(&ORDERS);
    site.start_agent();
    site.until_whole();
}

#[test]
#[ignore = "runs inside without_its_journal_an_exclusive_takeover_waits_for_a_person"]
fn inner_it_waits() {
    let mut site = running(|it| it);
    let epoch = lose_the_journal(&mut site).traffic.expect("there are routes").epoch;
    site.kill_server("orders");
    let status = site.until_status("it is refused", |it| {
        it.components[0].waiting.as_ref().is_some_and(|it| it.reason.contains("the journal can't be written"))
    });
    assert_eq!(status.traffic.map(|it| it.epoch), Some(epoch), "nothing is done");
    let way_out = status.components[0].waiting.clone().expect("it waits").way_out;
    assert!(way_out.contains("--override journal-lost"), "{way_out}");
    site.says(&way_out.split(' ').skip(1).collect::<Vec<_>>()).tells(0, &["recorded as"]);
    site.until_owned_by("orders", "orders-b");
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders-b"));
    until_in_second_file(&site, "recovery_completed");
}

#[test]
#[ignore = "runs inside where_the_plan_says_so_a_takeover_goes_on_without_the_journal"]
fn inner_it_proceeds() {
    let mut site = running(|it| format!("on_journal_loss: proceed\n{it}"));
    lose_the_journal(&mut site);
    site.kill_server("orders");
    site.until_owned_by("orders", "orders-b");
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders-b"));
    until_in_second_file(&site, "journal_lost");
    until_in_second_file(&site, "recovery_completed");
    // What the journal had is still what was written, and the next agent starts on it.
    let reader = Reader::open(&site.state()).expect("it is there");
    reader.verify(None).expect("nothing was changed");
    site.kill_agent();
    site.start_agent();
    site.until_owned_by("orders", "orders-b");
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders-b"));
}
