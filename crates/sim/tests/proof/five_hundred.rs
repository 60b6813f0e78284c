//! The example of five hundred components, cut down to one of them and what it needs: a world of all of them takes long.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mainstay_plan::{Plan, Surroundings, effective};

/// One component of each shape: by type, by how much it matters, with and without dependencies and a standby.
pub(crate) const SHAPES: [&str; 9] = [
    "cart-db-01",
    "prices-db-01",
    "search-cache-02",
    "cart-queue-01",
    "cart-files-01",
    "cart-app-01",
    "stock-app-05",
    "platform-lb-01",
    "platform-app-18",
];

/// The whole plan as one text.
pub(crate) fn whole() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/five-hundred");
    let around = Surroundings {
        read: &|path| fs::read_to_string(path).map_err(|it| it.to_string()),
        variable: &|name| (name == "SHOP_PAGER_TOKEN").then(|| "hush".to_owned()),
        needs_secrets: true,
    };
    let text = fs::read_to_string(dir.join("plan.yaml")).expect("readable");
    effective("plan.yaml", text, &dir, &around).1.expect("a plan")
}

/// Its text with only one component and what that depends on, with their standbys and routes.
pub(crate) fn cut_down(text: &str, whole: &Plan, name: &str) -> String {
    let mut kept = BTreeSet::new();
    let mut open: Vec<_> = whole.component_named(name).into_iter().collect();
    while let Some(next) = open.pop() {
        let component = whole.component(next);
        kept.extend(component.instances.iter().map(|it| whole.instance(*it).name.clone()));
        kept.extend(component.routes.iter().map(|it| whole.route(*it).name.clone()));
        open.extend(&component.depends_on);
    }
    let (mut keeps_section, mut keeps_item, mut by_name) = (true, true, false);
    let stays = |line: &&str| {
        let indent = line.len() - line.trim_start().len();
        let key = line.trim().split(':').next().unwrap_or_default();
        if indent == 0 {
            keeps_section = !["evacuations", "rules", "drills", "notifications", "escalation"].contains(&key);
            by_name = ["components", "standbys", "routes"].contains(&key);
            keeps_item = true;
        } else if indent == 2 && by_name {
            keeps_item = kept.contains(key);
        }
        keeps_section && keeps_item
    };
    text.lines().filter(stays).collect::<Vec<&str>>().join("\n")
}
