//! Signals: a new plan is taken or refused, and an end is an end in order.

use rustix::process::Signal;

use super::clients::Load;
use super::plans;
use super::site::{ORDERS, Site, serves_newest, until};

#[test]
fn a_plan_with_errors_is_refused_and_the_old_one_stays() {
    let site = Site::running(&ORDERS, plans::orders);
    let before = site.until_whole();
    site.edit_plan(|text| text.replace("type: database", "type: databse"));
    site.signal_agent(Signal::HUP);
    until("the refusal is logged", || site.whole_log("agent").contains("the plan was not reloaded").then_some(()));
    let log = site.log("agent");
    assert!(log.contains("the old one stays") && log.contains("mainstay check"), "{log}");
    let after = site.until_whole();
    assert_eq!(after.plan.hash, before.plan.hash);
    assert_eq!(after.traffic.map(|it| it.epoch), before.traffic.map(|it| it.epoch));
}

#[test]
fn a_new_plan_is_taken_without_a_failed_request() {
    let mut site = Site::running(&ORDERS, plans::orders);
    let before = site.until_whole();
    let epoch = before.traffic.expect("there are routes").epoch;
    let load = Load::start(&site.net, false);
    load.more(25);
    site.edit_plan(|text| text.replace("cool_down: 1s", "cool_down: 2s"));
    site.signal_agent(Signal::HUP);
    site.until_status("the new plan is in force", |it| {
        let newer = it.traffic.as_ref().is_some_and(|it| it.epoch > epoch);
        it.plan.hash != before.plan.hash && newer && serves_newest(it)
    });
    site.until_whole();
    load.more(50);
    load.ends_without_failure();
    site.stop_agent();
    site.check_journal();
}

#[test]
fn an_agent_ends_in_order_and_traffic_goes_on_until_it_is_told() {
    let mut site = Site::running(&ORDERS, plans::orders);
    let pid = site.traffic_pid().expect("it runs");
    let load = Load::start(&site.net, false);
    load.more(25);
    site.stop_agent();
    let log = site.log("agent");
    assert!(log.contains(&format!("traffic process {pid} keeps serving")), "{log}");
    load.more(50);
    load.ends_without_failure();
    site.check_journal();
    site.says(&["traffic", "--stop"]).tells(0, &["has ended"]);
    assert_eq!(site.traffic_pid(), None);
    assert_eq!(site.serves_through_proxy(), None);
    site.says(&["traffic", "--stop"]).tells(3, &["no traffic process", "--state DIR"]);
}

#[test]
fn another_traffic_process_takes_over_without_a_failed_request() {
    let mut site = Site::running(&ORDERS, plans::orders);
    let before = site.traffic_pid().expect("it runs");
    let load = Load::start(&site.net, false);
    load.more(50);
    site.says(&["traffic", "--restart"]).tells(0, &["has taken over"]);
    load.more(50);
    until("the one before ends", || (site.traffic_pid()? != before).then_some(()));
    site.until_whole();
    load.more(50);
    load.ends_without_failure();
    site.stop_agent();
    site.check_journal();
    site.says(&["traffic", "--stop"]).tells(0, &["has ended"]);
    site.says(&["traffic", "--restart"]).tells(3, &["no traffic process"]);
}
