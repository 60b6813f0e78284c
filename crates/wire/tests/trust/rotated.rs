//! An authority is replaced while its hosts go on.

use std::fs;
use std::time::Duration;

use mainstay_wire::trust::{Refusal, RotateError, Rotation};

use crate::site::{Site, meet};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn no_host_is_lost_when_each_renews_between_the_steps() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let gate = open.reception.gate();
    let hosts = [site.host("db-a", &site.clock), site.host("db-b", &site.clock)];
    let old = site.host("db-c", &site.clock);
    site.authority.revoke("db-c").expect("one that was revoked is not waited for");
    let first = fs::read_to_string(site.dir.path().join("agent/pki/authority.pem")).expect("it is there");
    for step in [Rotation::Begun, Rotation::Switched, Rotation::Finished] {
        assert_eq!(site.authority.rotate(false).expect("all are ready"), step);
        for host in &hosts {
            assert!(meet(gate, host).await.spoke, "{step:?}");
        }
        if step != Rotation::Finished {
            site.clock.forward(SECOND);
            hosts[0].renew(&open.address).await.expect("it is renewed");
            let error = site.authority.rotate(false).expect_err("one host is not ready");
            assert!(matches!(&error, RotateError::Waits { hosts } if *hosts == ["db-b"]), "{error}");
            assert_eq!(error.to_string(), "a host has not renewed since the last step: db-b");
            hosts[1].renew(&open.address).await.expect("it is renewed");
        }
    }
    // Nothing of the old one is left, and who has only that is nobody.
    let last = fs::read_to_string(site.dir.path().join("agent/pki/authority.pem")).expect("it is there");
    assert_eq!(last.matches("BEGIN CERTIFICATE").count(), 1);
    let keys = [&first, &last].map(|it| it.lines().nth(1).expect("a line of the key").to_owned());
    assert_ne!(keys[0], keys[1]);
    assert!(!site.dir.path().join("agent/pki/authority-next.pem").exists());
    assert!(matches!(meet(gate, &old).await.host, Err(Refusal::AnotherAuthority { .. })));
    // New hosts join as ever.
    let joined = site.join(&open, &site.token("db-d")).await.expect("it joins");
    assert!(meet(gate, &joined).await.spoke);
}

#[tokio::test]
async fn who_was_left_behind_joins_again() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let host = site.host("db-a", &site.clock);
    for _ in 0..3 {
        site.clock.forward(SECOND);
        site.authority.rotate(true).expect("nobody is waited for");
    }
    assert!(matches!(meet(open.reception.gate(), &host).await.host, Err(Refusal::AnotherAuthority { .. })));
    site.join(&open, &site.token("db-a")).await.expect("it joins again");
    assert!(meet(open.reception.gate(), &host).await.spoke, "its file is read again");
}

#[tokio::test]
async fn a_step_that_was_cut_off_is_taken_again() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let host = site.host("db-a", &site.clock);
    let pki = site.dir.path().join("agent/pki");
    // Stopped before anybody could learn of the next authority: hosts that renew then don't know it.
    let before = fs::read(pki.join("authority.pem")).expect("it is there");
    assert_eq!(site.authority.rotate(false).expect("it is begun"), Rotation::Begun);
    fs::write(pki.join("authority.pem"), before).expect("it is put back");
    site.clock.forward(SECOND);
    host.renew(&open.address).await.expect("it is renewed");
    site.clock.forward(SECOND);
    assert_eq!(site.authority.rotate(false).expect("it is begun again"), Rotation::Begun);
    assert!(matches!(site.authority.rotate(false), Err(RotateError::Waits { .. })));
    site.clock.forward(SECOND);
    host.renew(&open.address).await.expect("it is renewed");
    // Stopped before the next one's own file was removed.
    let next = fs::read(pki.join("authority-next.pem")).expect("it is there");
    assert_eq!(site.authority.rotate(false).expect("the host is ready"), Rotation::Switched);
    fs::write(pki.join("authority-next.pem"), next).expect("it is put back");
    fs::set_permissions(pki.join("authority-next.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("ours");
    assert_eq!(site.authority.rotate(false).expect("it is mended"), Rotation::Switched);
    assert!(meet(open.reception.gate(), &host).await.spoke);
    assert!(matches!(site.authority.rotate(false), Err(RotateError::Waits { .. })));
}
