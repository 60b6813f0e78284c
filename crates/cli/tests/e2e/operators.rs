//! People: what they are told to do works as it is printed.

use mainstay_api::Status;

use super::plans;
use super::site::{ORDERS, Site};

fn waits(status: &Status, code: &str) -> bool {
    status.components[0].waiting.as_ref().is_some_and(|it| it.code == code)
}

/// Does what the status says would end the wait.
fn takes_the_way_out(site: &Site, status: &Status) {
    let way_out = &status.components[0].waiting.as_ref().expect("it waits").way_out;
    site.says(&["status"]).tells(1, &[way_out]);
    let words: Vec<&str> = way_out.split(' ').collect();
    assert_eq!(words[0], "mainstay", "{way_out}");
    site.says(&words[1..]).tells(0, &["recorded as"]);
}

#[test]
fn a_recommended_recovery_waits_for_a_person_and_a_rebuilt_server_is_adopted() {
    let mut site = Site::running(&ORDERS, |net, dir| format!("mode: recommend\n{}", plans::orders(net, dir)));
    site.says(&["recover", "orders", "--reason", "because"]).tells(4, &["orders", "healthy"]);
    site.kill_server("orders");
    let status = site.until_status("it waits for a person", |it| waits(it, "approval"));
    assert_eq!(site.serves_through_proxy(), None, "nothing is done before somebody says so");
    takes_the_way_out(&site, &status);
    site.until_owned_by("orders", "orders-b");
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders-b"));

    site.says(&["adopt", "orders-b"]).tells(4, &["orders-b", "active"]);
    site.start_server("orders", Some("orders-b"));
    let status = site.until_status("the old one is seen", |it| it.components[0].instances[0].health == "healthy");
    assert_eq!(status.components[0].instances[0].state, "recovering", "no standby until somebody says so");
    site.says(&["adopt", "orders", "--reason", "rebuilt"]).tells(0, &["recorded as", "standby again"]);
    site.until_whole();
    site.stop_agent();
    site.check_journal();
}

#[test]
fn a_pause_holds_until_it_is_ended() {
    let mut site = Site::running(&ORDERS, plans::orders);
    site.says(&["resume", "orders"]).tells(4, &["paused"]);
    site.says(&["pause", "orders", "--for", "1h", "--reason", "new disks"]).tells(0, &["held back for 1h"]);
    site.kill_server("orders");
    let status = site.until_status("it is held back", |it| waits(it, "paused"));
    takes_the_way_out(&site, &status);
    site.until_owned_by("orders", "orders-b");
    site.stop_agent();
    site.check_journal();
}

#[test]
fn a_pause_of_everything_holds_until_it_is_ended() {
    let mut site = Site::running(&ORDERS, plans::orders);
    site.says(&["pause", "--for", "1h", "--reason", "new switches"]).tells(0, &["all components"]);
    site.kill_server("orders");
    let status = site.until_status("it is held back", |it| waits(it, "paused"));
    takes_the_way_out(&site, &status);
    site.until_owned_by("orders", "orders-b");
}

#[test]
fn an_aborted_recovery_has_failed_and_does_nothing() {
    let mut site = Site::running(&ORDERS, |net, dir| {
        format!("mode: recommend\n{}", plans::orders(net, dir).replace("cool_down: 1s", "cool_down: 1h"))
    });
    // A recovery that failed is worth an ERROR, whoever ended it.
    site.expect_errors();
    let epoch = site.until_whole().traffic.expect("there are routes").epoch;
    site.kill_server("orders");
    let status = site.until_status("it waits for a person", |it| waits(it, "approval"));
    let id = status.components[0].waiting.clone().expect("it waits").recovery;
    site.says(&["abort", &id, "--reason", "by hand"]).tells(0, &["recorded as"]);
    let status = site.until_status("the next one waits", |it| waits(it, "cool_down"));
    let aborted = site.recoveries().into_iter().find(|it| it.id == id).expect("it is at hand");
    assert_eq!(aborted.status, "recovery_failed");
    assert_eq!(status.traffic.map(|it| it.epoch), Some(epoch));
    site.says(&["approve", &id]).tells(4, &[&id, "not open"]);
    site.stop_agent();
    site.check_journal();
}
