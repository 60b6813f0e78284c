//! Two hosts, without an agent between them.

use mainstay_wire::trust::{Identity, Peer, Refusal};
use tokio::io::{AsyncWriteExt, duplex};

use crate::site::{DAY, Site, mixed};

/// What `asks`, who wants to reach the host `wanted`, and `answers` find out of each other.
async fn meet(asks: &Identity, answers: &Identity, wanted: &str) -> (Result<(), Refusal>, Result<Peer, Refusal>) {
    let (one, other) = duplex(64 << 10);
    let answered = async {
        let (mut stream, peer) = answers.accept_host(other).await?;
        stream.write_all(b"here").await.expect("it is taken");
        stream.flush().await.expect("it is taken");
        Ok(peer)
    };
    let (asked, answered) = tokio::join!(asks.connect_to_host(one, wanted), answered);
    (asked.map(drop), answered)
}

#[tokio::test]
async fn two_hosts_of_a_site_know_each_other_by_name() {
    let site = Site::new("shop-a");
    let (a, b) = (site.host("db-a", &site.clock), site.host("db-b", &site.clock));
    let (asked, answered) = meet(&a, &b, "db-b").await;
    assert_eq!(asked, Ok(()));
    assert_eq!(answered.expect("it is known").name, "db-a");
    let (asked, _) = meet(&a, &b, "db-c").await;
    assert!(matches!(&asked, Err(Refusal::AnotherHost { wanted, .. }) if wanted == "db-c"), "{asked:?}");
}

#[tokio::test]
async fn nobody_else_is_taken_for_a_host() {
    let (site, other, namesake) = (Site::new("shop-a"), Site::new("shop-b"), Site::new("shop-a"));
    let (a, b) = (site.host("db-a", &site.clock), site.host("db-b", &site.clock));
    // An agent neither asks nor answers here.
    let agent = site.gate().identity().clone();
    let refused = |it: Result<Peer, Refusal>| it.expect_err("it is refused").code();
    assert_eq!(refused(meet(&agent, &b, "db-b").await.1), "wrong_role");
    assert_eq!(meet(&a, &agent, "shop-a").await.0.expect_err("it is refused").code(), "wrong_role");
    // Another authority's, and one that trusts everybody.
    let stranger = namesake.host("db-a", &namesake.clock);
    let bold = mixed(&site.file_of("db-a"), &namesake.file_of("db-a"), &site.clock);
    assert_eq!(meet(&stranger, &b, "db-b").await.0.expect_err("it knows no such host").code(), "another_authority");
    assert_eq!(refused(meet(&bold, &b, "db-b").await.1), "another_authority");
    let foreign = other.host("db-a", &other.clock);
    assert!(meet(&foreign, &b, "db-b").await.1.is_err());
    // One that has ended.
    let late = site.host("db-c", &site.clock.copy());
    site.clock.forward(31 * DAY);
    assert_eq!(refused(meet(&late, &b, "db-b").await.1), "expired");
}
