//! A decision rule recovers what its probes alone would not yet, and the values of its terms are shown.

use super::plans;
use super::site::{ORDERS, Site, until};

#[test]
fn what_a_rule_says_is_shown_and_done() {
    let mut site = Site::running(&ORDERS, |net, dir| {
        // The probes themselves need 20 failures, the rule one that nothing good follows.
        let patient = plans::orders(net, dir).replacen("fall: 3", "fall: 20", 1);
        let rule = "rules:\n  orders-is-gone:\n    when: age(last_good, instance orders) > 2s\n    then: instance_failure\n    \
             of: { instance: orders }\n";
        format!("{patient}\n{rule}")
    });
    site.says(&["status", "--rules"]).tells(0, &["orders-is-gone", "false", "age(last_good, instance orders)"]);
    site.kill_server("orders");
    site.until_owned_by("orders", "orders-b");
    until("the rule is shown to be true", || site.status().filter(|it| it.rules.iter().any(|it| it.truth == "true")));
    site.says(&["status", "--rules"]).tells(0, &["orders-is-gone", "true"]);
    let first = site.recoveries().first().expect("there was one").id.clone();
    site.says(&["recoveries", "show", &first]).tells(0, &["orders-is-gone", "age(last_good, instance orders)"]);
    site.stop_agent();
    site.check_journal();
}
