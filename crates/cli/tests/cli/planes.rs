//! `planes`: the table, a part of it, and one operation.

use super::golden::golden;
use super::within;

#[test]
fn an_operation_is_looked_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let planes = |args: &[&str]| within(dir.path(), &[&["planes"], args].concat());
    let said = planes(&["start-instances"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    golden("planes-operation.txt", &said.out);
    assert_eq!(planes(&["ec2:StartInstances"]).out, said.out);
    planes(&["StartInstnces"])
        .fails(1, "error: the table knows no operation `StartInstnces`\nhelp: the nearest name is `StartInstances`\n");
    let said = planes(&["frobnicate"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.contains("runs on a control plane"), "{}", said.err);
    assert_eq!(planes(&["StartInstances", "--plane", "data"]).code, Some(1));
    // Of whom an operation is that a `*` covers, nobody knows without the service's name.
    let said = planes(&["DescribeDBInstances"]);
    assert!(said.out.starts_with("DescribeDBInstances, if it is of EC2: Describe*\n"), "{}", said.out);
    assert_eq!(planes(&["rds:DescribeDBInstances"]).code, Some(1));
    let said = planes(&["restart_service"]);
    assert!(said.err.contains("`mainstay plan FILE` names the plane of each"), "{}", said.err);
}

#[test]
fn a_part_of_the_table_is_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let planes = |args: &[&str]| within(dir.path(), &[&["planes"], args].concat());
    let said = planes(&["--service", "route53"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    golden("planes-service.txt", &said.out);
    let all = planes(&[]).out;
    for service in ["Mainstay\n", "EC2\n", "S3\n", "\nSources\n"] {
        assert!(all.contains(service), "{service}");
    }
    let json = planes(&["--plane", "recovery_control", "--json"]).json();
    let rows = json["rows"].as_array().expect("rows");
    assert!(rows.len() > 2 && rows.iter().all(|it| it["plane"] == "recovery_control"), "{json}");
    assert_eq!(planes(&["--plane", "cloud"]).code, Some(2));
    let said = planes(&["--service", "nope"]);
    assert!(said.code == Some(1) && said.err.contains("it knows Mainstay, "), "{said:#?}");
    assert_eq!(planes(&["--service", "sns", "--plane", "local"]).code, Some(1));
}
