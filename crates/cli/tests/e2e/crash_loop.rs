//! A real PostgreSQL server that dies soon after each start: it is restarted as often as the plan lets, also when the agent died in
//! between, and then a standby takes over.

use mainstay_api::Status;
use mainstay_engine::Body;
use mainstay_plan::strategy::Strategy;

use super::postgres::{STOP, Servers, Writer};
use super::site::{Site, until};

fn bound(status: &Status) -> &str {
    &status.components.first().expect("the component").bound_to
}

/// How many recoveries a restart has completed.
fn restarted(site: &Site) -> usize {
    let by_restart = |it: &&mainstay_api::Recovery| {
        it.status == "recovery_completed" && it.strategy.as_deref() == Some(Strategy::RestartService.word())
    };
    site.recoveries().iter().filter(by_restart).count()
}

#[test]
fn a_server_that_dies_again_and_again_is_not_restarted_a_third_time() {
    let mut servers = Servers::without_slots();
    servers.wait_for_one_standby();
    let ladder = "    recovery:\n      - restart_service: { timeout: 20s, at_most: 2, within: 1h }\n";
    let mut site = Site::running(&["gateway"], |net, dir| {
        let plan = servers.plan(net, dir, STOP).replacen("    recovery:\n", ladder, 1);
        assert!(plan.contains("at_most"));
        plan
    });
    let writer = Writer::start(site.net.proxy);
    for nth in 1..=2 {
        writer.until_more(20);
        servers.primary.kill();
        until("it is restarted", || (restarted(&site) == nth).then_some(()));
        site.until_whole();
    }
    // What was counted is in the journal.
    site.stop_agent();
    site.start_agent();
    site.until_whole();
    writer.until_more(20);
    servers.primary.kill();
    site.until_status("a standby takes over", |it| bound(it) != "orders");
    writer.until_more(20);
    let history = writer.end();
    until("it is over", || site.recoveries().iter().all(|it| it.ended_ns.is_some()).then_some(()));
    assert_eq!(restarted(&site), 2);
    let new = if bound(&site.status().expect("it answers")) == "orders-b" { &servers.second } else { &servers.third };
    let lost = history.missing_on(new);
    assert!(lost.is_empty(), "{lost:?}");
    let skipped = |body: &Body| {
        let Body::RungSkipped { strategy: Strategy::RestartService, why, .. } = body else { return None };
        Some(why.clone())
    };
    let why: Vec<String> = site.journal().iter().filter_map(|it| skipped(&it.1.body)).collect();
    let said = "`orders` is in a crash loop: it was restarted 2 times within 1h";
    assert!(why.len() == 1 && why[0].starts_with(said), "{why:?}");
    let by_standby = |it: &mainstay_api::Recovery| it.strategy.as_deref() == Some(Strategy::FailoverToStandby.word());
    let takeover = site.recoveries().into_iter().find(by_standby).expect("a standby took over");
    site.says(&["recoveries", "show", &takeover.id]).tells(0, &["in a crash loop"]);
    site.stop_agent();
    site.check_journal();
}
