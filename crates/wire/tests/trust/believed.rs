//! Ends that know each other.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use mainstay_wire::trust::{Authority, Terms};
use mainstay_wire::trust::{Created, Role};

use crate::site::{Site, meet};

#[tokio::test]
async fn an_agent_and_its_host_know_each_other_by_site_role_and_name() {
    let site = Site::new("shop-a");
    let host = site.host("db-a", &site.clock);
    let met = meet(&site.gate(), &host).await;
    let seen = met.agent.expect("it is let in").expect("it shows a certificate");
    assert_eq!((seen.site.as_str(), seen.role, seen.name.as_str()), ("shop-a", Role::Host, "db-a"));
    assert_eq!(seen, host.me());
    let seen = met.host.expect("it believes the agent");
    assert_eq!((seen.site.as_str(), seen.role, seen.name.as_str()), ("shop-a", Role::Agent, "shop-a"));
    assert!(met.spoke);
}

#[test]
fn making_an_authority_again_changes_nothing() {
    let site = Site::new("shop-a");
    let before = site.gate().identity().me();
    let state = site.dir.path().join("agent");
    let again = Authority::create(&state, "shop-a", &["127.0.0.1".to_owned()], Terms::default(), &site.clock.wall());
    assert_eq!(again.expect("it is there").1, Created::Nothing);
    assert_eq!(site.gate().identity().me(), before);
}

#[tokio::test]
async fn with_the_authority_alone_an_agent_on_another_machine_is_believed() {
    let site = Site::new("shop-a");
    let host = site.host("db-a", &site.clock);
    let state = site.dir.path().join("elsewhere");
    let pki = state.join("pki");
    fs::create_dir_all(&pki).expect("a folder");
    fs::set_permissions(&pki, fs::Permissions::from_mode(0o700)).expect("it is ours");
    fs::copy(site.dir.path().join("agent/pki/authority.pem"), pki.join("authority.pem")).expect("it is copied");
    let (authority, created) =
        Authority::create(&state, "shop-a", &[], Terms::default(), &site.clock.wall()).expect("it is there");
    assert_eq!(created, Created::Certificate);
    let met = meet(&authority.gate().expect("a certificate"), &host).await;
    assert_eq!(met.agent.expect("it is let in"), Some(host.me()));
    assert!(met.spoke);
}
