//! A job that calls: heard, missed, and heard again.

use mainstay_api::Status;

use super::site::Site;

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
    let is = |health: &'static str| move |it: &Status| it.components.iter().any(|it| it.health == health);
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
