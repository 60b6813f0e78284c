//! A zone is emptied with real servers, real traffic and an agent that dies on the way.

use mainstay_engine::Body;

use super::plans;
use super::site::{ALL, Site};

#[test]
fn a_zone_is_left_although_the_agent_is_killed_on_the_way() {
    let mut site = Site::running(&ALL, plans::both);
    site.says(&["evacuate", "attic", "--dry-run"]).tells(4, &["there is no zone or region `attic`", "here/rack-a"]);
    site.says(&["evacuate", "rack-a", "--end"]).tells(4, &["is not being evacuated"]);
    let foreseen = site.says(&["evacuate", "rack-a", "--dry-run"]);
    foreseen.tells(0, &["here/rack-a would be evacuated until", "orders-b", "files-b"]);
    site.says(&["evacuate", "rack-a", "--for", "1h", "--reason", "power work"]).tells(0, &["recorded as"]);
    site.kill_agent();
    site.start_agent();
    site.until_owned_by("orders", "orders-b");
    site.until_owned_by("files", "files-b");
    let settled = |it: &mainstay_api::Status| it.evacuations.first().is_some_and(|it| it.status == "settled");
    let status = site.until_status("whoever can leave has left", settled);
    assert!(status.evacuations[0].components.iter().all(|it| it.is == "gone"), "{:#?}", status.evacuations);
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders-b"));
    site.says(&["status"])
        .tells(0, &["here/rack-a until", "power work", "2 gone", "mainstay evacuate here/rack-a --end"]);
    site.says(&["evacuate", "rack-a", "--end", "--reason", "done"]).tells(0, &["recorded as"]);
    site.until_status("it is over", |it| it.evacuations.is_empty());
    let moved = |it: &Body| matches!(it, Body::SwitchStarted { evacuation: Some(_), .. });
    assert!(site.recorded(moved), "both left as planned");
    site.stop_agent();
    site.check_journal();
}
