//! People are told by real commands, and a message that had not arrived when the agent was killed arrives afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::plans;
use super::site::{ORDERS, Site, until};

/// A command that notes what it is told, as long as the file `works` is there.
fn note(dir: &Path) -> String {
    let path = dir.join("note");
    let script = "#!/bin/sh\ntest -e works || exit 1\necho \"$MAINSTAY_IDEMPOTENCY_KEY $MAINSTAY_MESSAGE\" >> told\n";
    let script = script.replace("works", &dir.join("works").display().to_string());
    fs::write(&path, script.replace(">> told", &format!(">> {}", dir.join("told").display())))
        .expect("it can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path.display().to_string()
}

#[test]
fn a_message_outlives_a_kill_of_the_agent_and_a_channel_that_fails() {
    let mut site = Site::running(&ORDERS, |net, dir| {
        let people = format!("notifications:\n  book: {{ send: {{ command: {{ run: [{}] }} }} }}\n", note(dir));
        format!("{}\n{people}", plans::orders(net, dir))
    });
    site.kill_server("orders");
    site.until_owned_by("orders", "orders-b");
    let told = site.path().join("told");
    until("the channel is known to fail", || {
        site.status().filter(|it| it.notices.failing.iter().any(|it| it == "book"))
    });
    assert!(!told.exists());
    site.says(&["notices", "--all"]).tells(0, &["orders", "not arrived yet", "book", "exited with 1"]);
    site.kill_agent();
    fs::write(site.path().join("works"), "").expect("it can be written");
    site.start_agent();
    let text =
        until("all of it has arrived", || fs::read_to_string(&told).ok().filter(|it| it.contains("`orders-b` serves")));
    let keys: Vec<&str> = text.lines().filter_map(|it| it.split(' ').next()).collect();
    assert!(text.contains("detected") && keys.len() >= 2, "{text}");
    assert!(keys.iter().all(|it| it.split('/').count() == 4), "{keys:?}");
    site.says(&["notices"]).tells(0, &["nothing stands", "carries"]);
    site.says(&["acknowledge", "orders"]).tells(0, &["its cool-down has ended"]);
    site.says(&["acknowledge", "orders"]).tells(4, &["nothing to acknowledge"]);
    site.stop_agent();
    site.check_journal();
}
