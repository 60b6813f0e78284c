//! The rows. Each group of operations stands once for each service and plane.
//!
//! Facts, not judgements: who doubts a row follows its source. AWS names its planes on few pages; what those leave open
//! follows from its rule that creating, reading, updating, deleting and listing resources is the control plane's work.

use super::Evidence::{ApiModel, Code, Documented, Inferred};
use super::Row;
use crate::action::Plane::{Data, GlobalControl, Local, RecoveryControl, RegionalControl, ServiceRun};

const ACTIONS: &str = "crates/plan/src/action.rs";
const PLAYS: &str = "crates/plan/src/config/plays.rs";
const PLAN: &str = "docs/plan.md";
const CRUDL: &str =
    "https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/control-planes-and-data-planes.html";
const STATIC_STABILITY: &str =
    "https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/static-stability.html";
const REL11_BP04: &str = "https://docs.aws.amazon.com/wellarchitected/latest/framework/rel_withstand_component_failures_avoid_control_plane.html";
const PARTITIONAL: &str = "https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/appendix-a---partitional-service-guidance.html";
const EDGE: &str = "https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/appendix-b---edge-network-global-service-guidance.html";
const GLOBAL: &str =
    "https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/global-services.html";
const EVACUATION: &str = "https://docs.aws.amazon.com/whitepapers/latest/advanced-multi-az-resilience-patterns/data-plane-controlled-evacuation.html";
const CONTROL_EVACUATION: &str = "https://docs.aws.amazon.com/whitepapers/latest/advanced-multi-az-resilience-patterns/control-plane-controlled-evacuation.html";
const DATA_EVENTS: &str =
    "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-data-events-with-cloudtrail.html";
const MANAGEMENT_EVENTS: &str =
    "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html";
const FIS_ZONE: &str = "https://docs.aws.amazon.com/fis/latest/userguide/az-availability-scenario.html";
const ACCELERATED: &str = "https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/accelerated-recovery.html";
const HEALTH_CHECK_STATUS: &str =
    "https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetHealthCheckStatus.html";
const ROUTING_CONTROL: &str = "https://docs.aws.amazon.com/r53recovery/latest/dg/data-and-control-planes.html";
const ROUTING_CONTROL_API: &str =
    "https://docs.aws.amazon.com/routing-control/latest/APIReference/API_UpdateRoutingControlState.html";
const REGION_SWITCH: &str = "https://docs.aws.amazon.com/r53recovery/latest/dg/actions.region-switch.html";
const HEALTH_CHECK_BLOCK: &str = "https://docs.aws.amazon.com/r53recovery/latest/dg/route53-health-check-block.html";
const CACHE_FAILOVER: &str = "https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/AutoFailover.html";
const DYNAMODB_API: &str = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.API.html";
const DYNAMODB_CONTROL: &str = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-control-plane.html";
const MRAP: &str = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/MrapOperations.html";
const SSM_TRAIL: &str = "https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-cloudtrail-logs.html";
const CLOUDWATCH_TRAIL: &str =
    "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/logging_cw_api_calls.html";

const US_EAST_1: &[&str] = &["us-east-1"];
const US_WEST_2: &[&str] = &["us-west-2"];

/// What Mainstay itself does.
pub const OURS: &[Row] = &[
    Row::new(
        "Mainstay",
        Local,
        &["service start", "service stop", "service restart", "service kill", "trigger_file"],
        (Code, ACTIONS),
    )
    .note("on the machine of whoever acts; what a declared service's own commands reach is for their author to know"),
    Row::new("Mainstay", Local, &["command"], (Code, PLAN))
        .note("the default: `plane` in the plan says what the command really needs"),
    Row::new("Mainstay", Data, &["webhook"], (Code, PLAN))
        .note("the default: `plane` in the plan says what the callee really needs"),
    Row::new("Mainstay", Data, &["promote"], (Code, ACTIONS))
        .note("SQL that a PostgreSQL server itself answers; it needs the server and nothing that manages it"),
    Row::new("Mainstay", RegionalControl, &["restore_from_backup", "replace_instance", "scale_out"], (Code, PLAN))
        .note("the default of the command that such a strategy runs; `plane` in the plan overrides it"),
    Row::new("Mainstay", Local, &["cut traffic", "hand over"], (Code, PLAYS))
        .note("a routing table that our own traffic processes acknowledge"),
    Row::new("Mainstay", Local, &["stop the old owner"], (Code, PLAYS))
        .note("a fence only when it is seen stopped, on the machine where it runs"),
    Row::new("Mainstay", Local, &["end a lease"], (Code, PLAYS))
        .note("over when its host says so, or when its time is over: it needs nothing that could fail"),
    Row::new("Mainstay", Data, &["verify", "probe"], (Code, PLAYS))
        .note("asks as a client does; a probe that describes a resource at a cloud's API is control"),
];

/// AWS's operations.
pub const TABLE: &[Row] = &[
    // The rule.
    Row::new(
        "any AWS service",
        RegionalControl,
        &["create, read or describe, update, delete or list a resource"],
        (Documented, CRUDL),
    )
    .note("AWS's rule, also for reads: describing a queue is control. Rows below that are marked inferred follow from it"),
    // DNS.
    Row::new(
        "Route 53 public DNS",
        Data,
        &["answering DNS queries", "evaluating health checks", "choosing records by health"],
        (Documented, EDGE),
    )
    .note("the 100 % SLA is for this part alone. A disabled health check counts as healthy"),
    Row::new(
        "Route 53 public DNS",
        GlobalControl,
        &[
            "ChangeResourceRecordSets",
            "GetChange",
            "CreateHealthCheck",
            "UpdateHealthCheck",
            "DeleteHealthCheck",
            "CreateHostedZone",
            "DeleteHostedZone",
            "ListHostedZones",
            "ListResourceRecordSets",
            "CreateTrafficPolicy",
            "CreateTrafficPolicyInstance",
            "UpdateTrafficPolicyInstance",
        ],
        (Documented, EDGE),
    )
    .homes(US_EAST_1)
    .note(
        "every public API of Route 53, outside its SLA: do not change records to fail over, let a health check do it. \
         One protected record in a change makes the whole batch fail",
    ),
    Row::new("Route 53 public DNS", GlobalControl, &["GetHealthCheckStatus"], (ApiModel, HEALTH_CHECK_STATUS))
        .homes(US_EAST_1)
        .note("meant for development, not for production: do not poll it"),
    Row::new(
        "Route 53 accelerated recovery",
        GlobalControl,
        &["record changes and zone reads while us-east-1 is gone"],
        (Documented, ACCELERATED),
    )
    .homes(US_WEST_2)
    .note(
        "switched on ahead, for each public zone; the control plane moves within about 60 minutes. No health checks, no \
         new zones; changes that got stuck must be sent again: a safety net, no failover",
    ),
    Row::new("Route 53 private DNS", Data, &["resolving names in a VPC"], (Documented, PARTITIONAL)),
    Row::new("Route 53 private DNS", GlobalControl, &["changes to private zones and records"], (Documented, PARTITIONAL))
        .homes(US_EAST_1)
        .note("accelerated recovery does not cover private zones"),
    Row::new(
        "Route 53 standby takes over primary",
        Data,
        &["putting or removing the object that an inverted health check watches"],
        (Documented, HEALTH_CHECK_BLOCK),
    )
    .note(
        "the primary's check watches an object in the standby region: absent or out of reach means healthy, so nothing \
         moves by accident. What Mainstay's beacon does",
    ),
    // Amazon Application Recovery Controller.
    Row::new(
        "ARC routing control",
        RecoveryControl,
        &["GetRoutingControlState", "ListRoutingControls", "UpdateRoutingControlState", "UpdateRoutingControlStates"],
        (ApiModel, ROUTING_CONTROL_API),
    )
    .note("one cluster has endpoints in five regions and tolerates the loss of two: write their addresses down, try them all"),
    Row::new(
        "ARC routing control",
        GlobalControl,
        &["CreateCluster", "DescribeCluster", "CreateControlPanel", "CreateRoutingControl", "CreateSafetyRule"],
        (Documented, ROUTING_CONTROL),
    )
    .homes(US_WEST_2)
    .note("the whole configuration API. `DescribeCluster` is in it: a tool that asks for the endpoints first has none"),
    Row::new(
        "ARC Region switch",
        RecoveryControl,
        &[
            "StartPlanExecution",
            "CancelPlanExecution",
            "UpdatePlanExecution",
            "UpdatePlanExecutionStep",
            "ApprovePlanExecutionStep",
            "GetPlanExecution",
            "ListPlanExecutions",
            "ListPlanExecutionEvents",
            "GetPlanEvaluationStatus",
            "GetPlanInRegion",
            "ListPlansInRegion",
            "ListRoute53HealthChecksInRegion",
        ],
        (Documented, REGION_SWITCH),
    )
    .note(
        "that is the orchestrator: steps that call EC2, ECS, RDS, Lambda's configuration or SSM still need the control \
         planes of those",
    ),
    Row::new(
        "ARC Region switch",
        GlobalControl,
        &[
            "CreatePlan",
            "UpdatePlan",
            "DeletePlan",
            "GetPlan",
            "ListPlans",
            "ListRoute53HealthChecks",
            "TagResource",
            "UntagResource",
            "ListTagsForResource",
        ],
        (Documented, REGION_SWITCH),
    )
    .homes(US_EAST_1)
    .note("us-gov-west-1 in GovCloud"),
    Row::new(
        "ARC zonal shift",
        RecoveryControl,
        &["StartZonalShift", "UpdateZonalShift", "CancelZonalShift"],
        (Documented, EVACUATION),
    )
    .note("does nothing where the load balancer already fails open. Zone names differ by account: use zone IDs (use1-az1)"),
    Row::new(
        "ARC zonal shift",
        RegionalControl,
        &[
            "CreatePracticeRunConfiguration",
            "UpdatePracticeRunConfiguration",
            "DeletePracticeRunConfiguration",
            "UpdateZonalAutoshiftConfiguration",
        ],
        (Inferred, CRUDL),
    ),
    // Traffic.
    Row::new(
        "Elastic Load Balancing (ELB)",
        Data,
        &["forwarding", "checking the health of targets"],
        (Inferred, CRUDL),
    ),
    Row::new(
        "Elastic Load Balancing (ELB)",
        ServiceRun,
        &["DNS failover away from zones below their minimum of healthy targets"],
        (Inferred, CRUDL),
    ),
    Row::new("Elastic Load Balancing (ELB)", GlobalControl, &["CreateLoadBalancer"], (Documented, GLOBAL))
        .homes(US_EAST_1)
        .note("regional, and its DNS name needs Route 53's control plane too: create it ahead"),
    Row::new(
        "Elastic Load Balancing (ELB)",
        RegionalControl,
        &["CreateTargetGroup", "RegisterTargets", "DeregisterTargets", "ModifyListener", "ModifyRule", "SetSubnets"],
        (Inferred, CRUDL),
    )
    .note("also weights in listeners and rules. Register targets ahead and let their health checks decide"),
    Row::new(
        "CloudFront",
        Data,
        &["serving", "origin failover"],
        (Documented, EDGE),
    ),
    Row::new(
        "CloudFront",
        Data,
        &["GetKey", "PutKey", "DeleteKey", "UpdateKeys", "ListKeys"],
        (Documented, DATA_EVENTS),
    )
    .note("items of a KeyValueStore, read and written as data events: a switch at the edge that is no update of a distribution"),
    Row::new(
        "CloudFront",
        GlobalControl,
        &["CreateDistribution", "UpdateDistribution", "DeleteDistribution", "CreateInvalidation"],
        (Documented, EDGE),
    )
    .homes(US_EAST_1)
    .note("so are its ACM certificates and WAF rules"),
    Row::new(
        "Global Accelerator",
        Data,
        &["anycast routing", "failover between endpoints by health checks"],
        (Documented, EDGE),
    ),
    Row::new(
        "Global Accelerator",
        GlobalControl,
        &["UpdateEndpointGroup", "AddEndpoints", "RemoveEndpoints"],
        (Documented, EDGE),
    )
    .homes(US_WEST_2)
    .note("traffic dials, weights and endpoints. Creating its health checks needs Route 53 in us-east-1 too"),
    // Compute.
    Row::new("EC2", Data, &["running instances"], (Documented, STATIC_STABILITY))
        .note("staying up needs no control plane, nor does starting again after a reboot"),
    Row::new("EC2", Data, &["private hostnames of instances"], (Documented, GLOBAL))
        .note("they do not depend on Route 53"),
    Row::new("EC2", Local, &["reboot from inside the instance", "systemctl restart"], (Inferred, STATIC_STABILITY))
        .note("`RebootInstances`, from outside, is control"),
    Row::new("EC2", RegionalControl, &["RunInstances", "StartInstances", "CreateFleet"], (Documented, FIS_ZONE))
        .note("named as failing when a zone is out: a cold standby may not start. Keep it running"),
    Row::new(
        "EC2",
        RegionalControl,
        &[
            "StopInstances",
            "RebootInstances",
            "TerminateInstances",
            "AttachVolume",
            "AssociateAddress",
            "ReplaceRoute",
            "Describe*",
        ],
        (Inferred, CRUDL),
    )
    .note("moving an address or a route is control, and so is looking"),
    Row::new("EC2", ServiceRun, &["automatic recovery of an instance"], (Inferred, CRUDL))
        .note("with conditions; nothing to call"),
    Row::new("EBS", Data, &["reads and writes of a volume"], (Documented, CRUDL)),
    Row::new(
        "EBS",
        Data,
        &["GetSnapshotBlock", "PutSnapshotBlock", "ListChangedBlocks"],
        (Documented, DATA_EVENTS),
    )
    .note("the EBS direct APIs: a snapshot can be restored into a blank volume that is attached already"),
    Row::new("EBS", RegionalControl, &["CreateVolume", "CreateSnapshot"], (Inferred, CRUDL)),
    Row::new("EC2 Auto Scaling", Data, &["capacity that runs already"], (Documented, REL11_BP04))
        .note("size each zone ahead for the loss of another"),
    Row::new(
        "EC2 Auto Scaling",
        RegionalControl,
        &["SetDesiredCapacity", "UpdateAutoScalingGroup", "PutWarmPool", "LaunchInstances"],
        (Documented, REL11_BP04),
    )
    .note("scaling during the event is the page's example of what not to do"),
    Row::new("EC2 Auto Scaling", RegionalControl, &["replacing lost instances"], (Documented, FIS_ZONE))
        .note("its own replacement calls EC2's control plane, and fails with it"),
    Row::new(
        "EC2 Auto Scaling",
        RegionalControl,
        &["taking a zone's subnets out of a group"],
        (Documented, CONTROL_EVACUATION),
    )
    .note(
        "evacuate traffic first; raise the minimum capacity, for idle resources are scaled in; write down what was \
         changed, so that the way back is exact",
    ),
    Row::new("Lambda", Data, &["Invoke"], (Documented, DATA_EVENTS)),
    Row::new("Lambda", Data, &["polling of event sources"], (Inferred, CRUDL)),
    Row::new(
        "Lambda",
        RegionalControl,
        &["UpdateFunctionConfiguration"],
        (Documented, CONTROL_EVACUATION),
    )
    .note("moving a function to other subnets"),
    Row::new(
        "Lambda",
        RegionalControl,
        &["CreateFunction", "UpdateFunctionCode", "PutFunctionConcurrency", "UpdateEventSourceMapping"],
        (Inferred, CRUDL),
    )
    .note("switching an event source on or off is control"),
    Row::new("Lambda", GlobalControl, &["CreateFunctionUrlConfig"], (Documented, GLOBAL))
        .homes(US_EAST_1)
        .note("a function's URL needs Route 53's control plane"),
    Row::new(
        "EKS and ECS",
        Data,
        &["running pods and tasks", "adding pods on nodes that are there"],
        (Documented, REL11_BP04),
    ),
    Row::new("EKS and ECS", RegionalControl, &["adding nodes"], (Documented, REL11_BP04)),
    Row::new("EKS and ECS", RegionalControl, &["UpdateNodegroupConfig", "UpdateService"], (Inferred, CRUDL))
        .note("scaling nodes or a service's tasks"),
    Row::new("EKS and ECS", GlobalControl, &["CreateCluster", "DNS service discovery of ECS"], (Documented, GLOBAL))
        .homes(US_EAST_1)
        .note("the control plane of an EKS cluster, and ECS service discovery, are created with Route 53's"),
    // Databases and caches.
    Row::new("RDS and Aurora", Data, &["SQL connections", "replication"], (Inferred, CRUDL)),
    Row::new("RDS and Aurora", ServiceRun, &["automatic failover, Multi-AZ and Aurora"], (Documented, EVACUATION))
        .note("what to rely on: it needs no call"),
    Row::new(
        "RDS and Aurora",
        RegionalControl,
        &["FailoverDBCluster", "RebootDBInstance"],
        (Documented, EVACUATION),
    )
    .note("a failover by hand relies on the control plane, also as a reboot with ForceFailover"),
    Row::new(
        "RDS and Aurora",
        RegionalControl,
        &[
            "PromoteReadReplica",
            "SwitchoverGlobalCluster",
            "FailoverGlobalCluster",
            "RestoreDBInstanceFromDBSnapshot",
            "RestoreDBInstanceToPointInTime",
            "RestoreDBClusterFromSnapshot",
            "RestoreDBClusterToPointInTime",
        ],
        (Inferred, CRUDL),
    )
    .note("promoting a replica too"),
    Row::new("RDS and Aurora", GlobalControl, &["CreateDBInstance"], (Documented, EDGE))
        .homes(US_EAST_1)
        .note("regional, and its DNS name needs Route 53's control plane too: provision ahead"),
    Row::new(
        "RDS Data API",
        Data,
        &["ExecuteStatement", "BatchExecuteStatement", "BeginTransaction", "CommitTransaction", "RollbackTransaction"],
        (Documented, DATA_EVENTS),
    ),
    Row::new("ElastiCache", Data, &["Redis and Valkey commands"], (Inferred, CRUDL)),
    Row::new("ElastiCache", ServiceRun, &["automatic failover"], (Documented, CACHE_FAILOVER)),
    Row::new("ElastiCache", RegionalControl, &["ModifyReplicationGroup"], (Inferred, CRUDL))
        .note("promoting a replica by hand"),
    Row::new("ElastiCache", RegionalControl, &["TestFailover"], (Documented, CACHE_FAILOVER))
        .note("for tests alone: limited per day, and AWS may block it in large events. Never a step of a recovery"),
    Row::new(
        "ElastiCache",
        GlobalControl,
        &["CreateReplicationGroup", "CreateCacheCluster"],
        (Documented, GLOBAL),
    )
    .homes(US_EAST_1)
    .note("its DNS name needs Route 53's control plane"),
    Row::new(
        "DynamoDB",
        Data,
        &[
            "GetItem",
            "PutItem",
            "UpdateItem",
            "DeleteItem",
            "Query",
            "Scan",
            "BatchGetItem",
            "BatchWriteItem",
            "TransactGetItems",
            "TransactWriteItems",
            "ExecuteStatement",
            "BatchExecuteStatement",
            "ExecuteTransaction",
            "GetRecords",
            "GetShardIterator",
        ],
        (Documented, DYNAMODB_API),
    )
    .note("PartiQL statements and streams included. A probe asks with `GetItem`"),
    Row::new(
        "DynamoDB",
        RegionalControl,
        &[
            "CreateTable",
            "DescribeTable",
            "ListTables",
            "UpdateTable",
            "DeleteTable",
            "CreateBackup",
            "DeleteBackup",
            "RestoreTableFromBackup",
            "RestoreTableToPointInTime",
            "UpdateGlobalTable",
            "DescribeStream",
            "ListStreams",
        ],
        (Documented, DYNAMODB_CONTROL),
    )
    .note("throttled at 2,500 requests a second; a probe with `DescribeTable` asks the wrong plane"),
    // Storage, queues, messages.
    Row::new(
        "S3",
        Data,
        &["GetObject", "PutObject", "DeleteObject", "ListObjects", "HeadBucket"],
        (Documented, DATA_EVENTS),
    ),
    Row::new(
        "S3",
        GlobalControl,
        &[
            "CreateBucket",
            "DeleteBucket",
            "PutBucketCors",
            "DeleteBucketCors",
            "PutAccelerateConfiguration",
            "PutBucketRequestPayment",
            "PutBucketObjectLockConfiguration",
            "PutBucketTagging",
            "DeleteBucketTagging",
            "PutBucketReplication",
            "DeleteBucketReplication",
            "PutBucketEncryption",
            "DeleteBucketEncryption",
            "PutBucketLifecycle",
            "DeleteBucketLifecycle",
            "PutBucketNotification",
            "PutBucketLogging",
            "DeleteBucketLogging",
            "PutBucketVersioning",
            "PutBucketPolicy",
            "DeleteBucketPolicy",
            "PutBucketOwnershipControls",
            "DeleteBucketOwnershipControls",
            "PutBucketAcl",
            "PutBucketPublicAccessBlock",
            "DeleteBucketPublicAccessBlock",
        ],
        (Documented, GLOBAL),
    )
    .homes(US_EAST_1)
    .note("also for buckets in other regions: every write of a bucket's configuration depends on us-east-1"),
    Row::new("S3 Multi-Region Access Points", Data, &["requests for objects"], (Documented, GLOBAL)),
    Row::new(
        "S3 Multi-Region Access Points",
        RecoveryControl,
        &["SubmitMultiRegionAccessPointRoutes"],
        (Documented, MRAP),
    )
    .homes(&["us-east-1", "us-west-2", "ap-northeast-1", "ap-southeast-2", "eu-west-1"])
    .note("the failover switch; any one of the five regions will do"),
    Row::new(
        "S3 Multi-Region Access Points",
        GlobalControl,
        &[
            "CreateMultiRegionAccessPoint",
            "DeleteMultiRegionAccessPoint",
            "PutMultiRegionAccessPointPolicy",
        ],
        (Documented, GLOBAL),
    )
    .homes(US_WEST_2)
    .note("needs Global Accelerator, Route 53 and ACM as well"),
    Row::new("SQS", Data, &["SendMessage", "ReceiveMessage", "DeleteMessage"], (Documented, DATA_EVENTS)),
    Row::new("SQS", RegionalControl, &["describing a queue"], (Documented, CRUDL))
        .note("AWS's own example of a control-plane read"),
    Row::new("SQS", RegionalControl, &["CreateQueue", "SetQueueAttributes", "GetQueueAttributes"], (Inferred, CRUDL))
        .note("asking for the depth of a queue is control"),
    Row::new("SNS", Data, &["Publish", "PublishBatch"], (Documented, DATA_EVENTS)),
    Row::new("SNS", RegionalControl, &["CreateTopic", "Subscribe", "SetTopicAttributes"], (Inferred, CRUDL)),
    // Operating.
    Row::new(
        "Systems Manager (SSM)",
        Data,
        &["CreateControlChannel", "OpenControlChannel"],
        (Documented, SSM_TRAIL),
    )
    .note("the agent's channel"),
    Row::new(
        "Systems Manager (SSM)",
        RegionalControl,
        &["SendCommand", "StartSession", "CreateMaintenanceWindow", "PutInventory"],
        (Documented, SSM_TRAIL),
    )
    .note("restarting a service by `SendCommand` is control: keep an agent on the machine"),
    Row::new(
        "Systems Manager (SSM)",
        RegionalControl,
        &["CreateDocument", "StartAutomationExecution"],
        (Inferred, CRUDL),
    ),
    Row::new(
        "CloudWatch",
        Data,
        &["PutMetricData", "GetMetricData", "GetMetricStatistics", "ListMetrics"],
        (Documented, CLOUDWATCH_TRAIL),
    )
    .note("while CloudWatch itself is sick, InsufficientDataHealthStatus decides what a Route 53 check on an alarm says"),
    Row::new("CloudWatch", ServiceRun, &["evaluating alarms"], (Inferred, CRUDL)),
    Row::new(
        "CloudWatch",
        RegionalControl,
        &["PutMetricAlarm", "DescribeAlarms", "PutDashboard"],
        (Inferred, CRUDL),
    ),
    Row::new(
        "AppConfig and Cloud Map",
        Data,
        &["GetLatestConfiguration", "StartConfigurationSession", "DiscoverInstances"],
        (Documented, DATA_EVENTS),
    )
    .note("switches that can be thrown beforehand and read at any time"),
    Row::new("AppConfig and Cloud Map", RegionalControl, &["StartDeployment", "RegisterInstance"], (Inferred, CRUDL)),
    Row::new("KMS", Data, &["Encrypt", "Decrypt", "GenerateDataKey"], (Inferred, MANAGEMENT_EVENTS))
        .note("CloudTrail logs them as management events: its classes are a hint, not the plane"),
    Row::new("KMS", RegionalControl, &["CreateKey", "PutKeyPolicy"], (Inferred, CRUDL)),
    Row::new(
        "IAM and STS",
        Data,
        &["authentication and authorization", "AssumeRole", "GetCallerIdentity"],
        (Documented, PARTITIONAL),
    )
    .note("STS is data plane alone; use its regional endpoints, and regional sign-in. An identity provider is a dependency"),
    Row::new(
        "IAM and STS",
        GlobalControl,
        &["CreateUser", "CreateRole", "CreateAccessKey", "PutRolePolicy", "AttachRolePolicy", "UpdateAssumeRolePolicy"],
        (Documented, PARTITIONAL),
    )
    .homes(US_EAST_1)
    .note("all of IAM: users and roles for emergencies must be complete ahead, their keys in a vault"),
    Row::new(
        "Organizations and Account Management",
        GlobalControl,
        &["CreateAccount", "AttachPolicy", "DetachPolicy", "UpdatePolicy"],
        (Documented, PARTITIONAL),
    )
    .homes(US_EAST_1)
    .note("service control policies can't be changed then: plan with session tags instead"),
    Row::new("AWS Backup and DRS", RegionalControl, &["StartRestoreJob", "StartRecovery"], (Inferred, CRUDL))
        .note("both launch resources: restore or provision ahead, or restore on a machine that runs"),
    // What needs Route 53's control plane to be created, changed or deleted. AWS says that its list is not complete.
    Row::new("API Gateway", GlobalControl, &["creating, changing or deleting a REST or HTTP API"], (Documented, GLOBAL))
        .homes(US_EAST_1)
        .note("through Route 53; edge-optimised endpoints through CloudFront as well"),
    Row::new("PrivateLink", GlobalControl, &["CreateVpcEndpoint", "DeleteVpcEndpoints"], (Documented, GLOBAL))
        .homes(US_EAST_1)
        .note("through Route 53"),
    Row::new("OpenSearch", GlobalControl, &["creating or deleting a domain"], (Documented, GLOBAL))
        .homes(US_EAST_1)
        .note("through Route 53"),
    Row::new(
        "MemoryDB, Neptune and DAX",
        GlobalControl,
        &["creating or deleting a cluster"],
        (Documented, GLOBAL),
    )
    .homes(US_EAST_1)
    .note("through Route 53"),
];
