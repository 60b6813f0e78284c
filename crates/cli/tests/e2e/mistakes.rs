//! What goes wrong on the first day: each ends with its exit code, and with words that say what to do.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::plans;
use super::site::{ORDERS, PROGRAM, Said, Site, mainstay, until};

/// Said on the real standard error, which no test harness keeps to itself.
pub(crate) fn skipped(why: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "SKIPPED {}: {why}", std::thread::current().name().unwrap_or(""));
}

#[test]
fn two_agents_do_not_share_a_state_directory() {
    let site = Site::running(&ORDERS, plans::orders);
    let pid = format!("process {}", site.agent_pid());
    let second = mainstay(site.path(), &["run", "plan.yaml"]);
    second.tells(4, &["in use by", &pid, "stop that agent", "mainstay status"]);
    site.until_whole();
}

#[test]
fn two_traffic_processes_do_not_share_a_state_directory() {
    let site = Site::running(&ORDERS, plans::orders);
    let pid = format!("pid {}", site.traffic_pid().expect("it runs"));
    site.says(&["traffic", "--site", "e2e"]).tells(4, &["another traffic process", &pid, "stop it, or name another"]);
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders"));
}

#[test]
fn a_plan_with_errors_is_shown_with_its_places() {
    let site = Site::new(|net, dir| plans::orders(net, dir).replace("availability: 99.5", "availabilty: 99.5"));
    for command in ["run", "check"] {
        let said = mainstay(site.path(), &[command, "plan.yaml"]);
        let code = if command == "run" { 2 } else { said.code.expect("it ended") };
        said.tells(code, &["MS0", "availabilty", "availability", "plan.yaml:"]);
        assert!(said.code != Some(0), "{said:#?}");
    }
    assert!(!site.state().exists(), "nothing is begun with a plan that has errors");
}

#[test]
fn a_file_that_is_not_there_or_is_no_file_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    mainstay(dir.path(), &["run", "mine.yaml"]).tells(2, &["mine.yaml", "no file", "mainstay init"]);
    mainstay(dir.path(), &["run", "."]).tells(2, &["`.`", "directory"]);
    fs::write(dir.path().join("binary"), b"\xff\xfe\x00").expect("writes");
    mainstay(dir.path(), &["run", "binary"]).tells(2, &["binary", "text"]);
}

#[test]
fn an_unknown_command_is_answered_with_the_nearest() {
    let dir = tempfile::tempdir().expect("a directory");
    mainstay(dir.path(), &["statsu"]).tells(2, &["statsu", "status", "--help"]);
}

#[test]
fn an_agent_that_does_not_run_is_said() {
    let mut site = Site::running(&ORDERS, plans::orders);
    site.kill_agent();
    for command in [["status"].as_slice(), &["recoveries"], &["pause", "--for", "1h", "--reason", "x"]] {
        site.says(command).tells(3, &["no agent runs", "mainstay run"]);
    }
    let nowhere = site.path().join("nowhere");
    mainstay(site.path(), &["status", "--state", nowhere.to_str().expect("text")]).tells(3, &["nowhere", "--state"]);
    site.says(&["journal", "verify"]).tells(0, &["unchanged"]);
}

#[test]
fn a_port_that_someone_else_has_is_trouble_until_it_is_free() {
    let mut site = Site::new(plans::orders);
    // A table that can't be served is worth an ERROR.
    site.expect_errors();
    let other = TcpListener::bind(site.net.proxy).expect("it is free");
    site.start_servers(&ORDERS);
    site.start_agent();
    let proxy = site.net.proxy.to_string();
    let status = site.until_status("the trouble is said", |it| {
        it.traffic.as_ref().is_some_and(|it| it.trouble.iter().any(|it| it.contains(&proxy)))
    });
    assert_eq!(status.traffic.expect("there are routes").serves_epoch, Some(0));
    site.says(&["status"]).tells(0, &[&proxy, "Address already"]);
    drop(other);
    site.until_whole();
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders"));
    let mended = site.until_whole().traffic.expect("there are routes");
    assert!(mended.trouble.is_empty(), "{mended:#?}");
    assert_eq!(site.whole_log("agent").matches("refused a routing table").count(), 1, "{}", site.log("agent"));
    site.stop_agent();
    site.check_journal();
}

#[test]
fn a_state_directory_without_permission_is_said() {
    let site = Site::new(plans::orders);
    fs::create_dir(site.state()).expect("a directory");
    fs::set_permissions(site.state(), fs::Permissions::from_mode(0o555)).expect("ours");
    let mut command = Command::new(PROGRAM);
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere; nobody may not, and has to reach the program first.
        let program = site.path().join("mainstay");
        fs::copy(PROGRAM, &program).expect("it is copied");
        fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        let can = Command::new("setpriv").args(["--reuid", "65534", "true"]).status();
        if !can.is_ok_and(|it| it.success()) {
            return skipped("root can't become nobody here (setpriv)");
        }
    }
    command.arg("run").arg(site.plan()).env_remove("MAINSTAY_STATE").stdin(Stdio::null());
    let said: Said = command.output().expect("it starts").into();
    said.tells(3, &["no permission", "state", "make it writable"]);
}

#[test]
fn a_traffic_process_of_another_site_is_not_taken_over() {
    let mut site = Site::running(&ORDERS, plans::orders);
    site.stop_agent();
    site.says(&["traffic", "--stop"]).tells(0, &["has ended"]);
    site.says(&["traffic", "--site", "elsewhere"]).tells(2, &["e2e", "elsewhere", "name another directory"]);
    until("nobody serves", || site.serves_through_proxy().is_none().then_some(()));
}
