//! Each reason to refuse somebody, by a connection of theirs.

use mainstay_wire::trust::Refusal;

use crate::site::{MINUTE, Site, meet};

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused_with_both_dates() {
    let site = Site::new("shop-a");
    let host = site.host("db-a", &site.clock);
    site.clock.forward(31 * 24 * 60 * MINUTE);
    let refusal = meet(&site.gate(), &host).await.host.expect_err("the agent's has ended, too");
    assert!(matches!(&refusal, Refusal::Expired { until, now, .. } if until < now), "{refusal:?}");
    assert!(
        refusal.to_string().starts_with("the certificate of the agent of site shop-a was valid until 20"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_host_that_was_revoked_is_refused_and_told_so() {
    let site = Site::new("shop-a");
    let host = site.host("db-a", &site.clock);
    let gate = site.gate();
    assert_eq!(site.authority.revoke("db-a").expect("it is written"), 1);
    let met = meet(&gate, &host).await;
    let refusal = met.agent.expect_err("it was revoked");
    assert!(
        matches!(&refusal, Refusal::Revoked { claimed, .. } if claimed == "host db-a of site shop-a"),
        "{refusal:?}"
    );
    let told = met.host.expect_err("it is told");
    assert_eq!(told.to_string(), "the other end refuses this one: its certificate was revoked");
}
