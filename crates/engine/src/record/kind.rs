//! The kind of a record, and whether it is a fact.

use super::Body;

impl Body {
    /// The kind under which the journal stores it, stable for ever.
    pub const fn kind(&self) -> &'static str {
        match self {
            Body::AgentStarted { .. } => "agent_started",
            Body::AgentStopped { .. } => "agent_stopped",
            Body::LeaseChanged { .. } => "lease_changed",
            Body::PeerOrder { .. } => "peer_order",
            Body::HostRefused { .. } => "host_refused",
            Body::PlanAdopted { .. } => "plan_adopted",
            Body::HealthChanged { .. } => "health_changed",
            Body::OwnLateness { .. } => "own_lateness",
            Body::WitnessesAnswered { .. } => "witnesses_answered",
            Body::SignalsSeen { .. } => "signals_seen",
            Body::ObserversAnswered { .. } => "observers_answered",
            Body::NeighbourAnswered { .. } => "neighbour_answered",
            Body::DependencyAnswered { .. } => "dependency_answered",
            Body::PositionFrozen { .. } => "position_frozen",
            Body::StepEnded { .. } => "step_ended",
            Body::RouteApplied { .. } => "route_applied",
            Body::RouteRefused { .. } => "route_refused",
            Body::TrafficSilent { .. } => "traffic_silent",
            Body::CutBySilence { .. } => "cut_by_silence",
            Body::TrafficAhead { .. } => "traffic_ahead",
            Body::Commanded { .. } => "commanded",
            Body::JournalLost { .. } => "journal_lost",
            Body::CanaryChanged { .. } => "canary_changed",
            Body::InStepChanged { .. } => "in_step_changed",
            Body::RoleSeen { .. } => "role_seen",
            Body::SeenElsewhere { .. } => "seen_elsewhere",
            Body::ElsewhereOver { .. } => "elsewhere_over",
            Body::AdoptionStarted { .. } => "adoption_started",
            Body::SwitchStarted { .. } => "switch_started",
            Body::SwitchUndone { .. } => "switch_undone",
            Body::EvacuationHeld { .. } => "evacuation_held",
            Body::EvacuationSettled { .. } => "evacuation_settled",
            Body::EvacuationExpires { .. } => "evacuation_expires",
            Body::EvacuationEnded { .. } => "evacuation_ended",
            Body::Impaired { .. } => "impaired",
            Body::ImpairmentEnded { .. } => "impairment_ended",
            Body::RuleFired { .. } => "rule_fired",
            Body::RuleCleared { .. } => "rule_cleared",
            Body::Told { .. } => "told",
            Body::FailureDetected { .. } => "failure_detected",
            Body::Classified { .. } => "classified",
            Body::IncidentOpened { .. } => "incident_opened",
            Body::IncidentEnded { .. } => "incident_ended",
            Body::IncidentRecovered { .. } => "incident_recovered",
            Body::Held { .. } => "held",
            Body::RecoveryInitiated { .. } => "recovery_initiated",
            Body::RungSkipped { .. } => "rung_skipped",
            Body::RungStarted { .. } => "rung_started",
            Body::StepStarted { .. } => "step_started",
            Body::StepTimedOut { .. } => "step_timed_out",
            Body::FenceConfirmed { .. } => "fence_confirmed",
            Body::FencePassedOver { .. } => "fence_passed_over",
            Body::RetryScheduled { .. } => "retry_scheduled",
            Body::RollbackStarted { .. } => "rollback_started",
            Body::UndoStarted { .. } => "undo_started",
            Body::BudgetExceeded { .. } => "budget_exceeded",
            Body::RungFailed { .. } => "rung_failed",
            Body::Bound { .. } => "bound",
            Body::Rejoined { .. } => "rejoined",
            Body::RepairStarted { .. } => "repair_started",
            Body::RepairFailed { .. } => "repair_failed",
            Body::RepairCompleted { .. } => "repair_completed",
            Body::KeepingStarted { .. } => "keeping_started",
            Body::KeepingCompleted { .. } => "keeping_completed",
            Body::KeepingFailed { .. } => "keeping_failed",
            Body::KeepingGaveWay { .. } => "keeping_gave_way",
            Body::KeepingOverdue { .. } => "keeping_overdue",
            Body::AddressChanged { .. } => "address_changed",
            Body::RouteHeld { .. } => "route_held",
            Body::RouteFreed { .. } => "route_freed",
            Body::TablePublished { .. } => "table_published",
            Body::BreakerChanged { .. } => "breaker_changed",
            Body::RecoveryCompleted { .. } => "recovery_completed",
            Body::RecoveryFailed { .. } => "recovery_failed",
            Body::NoticeSent { .. } => "notice_sent",
            Body::NoticeResent { .. } => "notice_resent",
        }
    }

    /// Whether it came from outside. Everything else is a decision, which a replay makes again.
    pub const fn is_fact(&self) -> bool {
        match self {
            Body::AgentStarted { .. }
            | Body::AgentStopped { .. }
            | Body::PlanAdopted { .. }
            | Body::HealthChanged { .. }
            | Body::OwnLateness { .. }
            | Body::WitnessesAnswered { .. }
            | Body::SignalsSeen { .. }
            | Body::ObserversAnswered { .. }
            | Body::NeighbourAnswered { .. }
            | Body::DependencyAnswered { .. }
            | Body::PositionFrozen { .. }
            | Body::StepEnded { .. }
            | Body::RouteApplied { .. }
            | Body::RouteRefused { .. }
            | Body::TrafficSilent { .. }
            | Body::TrafficAhead { .. }
            | Body::Commanded { .. }
            | Body::JournalLost { .. }
            | Body::InStepChanged { .. }
            | Body::RoleSeen { .. }
            | Body::CanaryChanged { .. }
            | Body::Impaired { .. }
            | Body::ImpairmentEnded { .. }
            | Body::RuleFired { .. }
            | Body::RuleCleared { .. }
            | Body::Told { .. }
            | Body::LeaseChanged { .. }
            | Body::PeerOrder { .. }
            | Body::HostRefused { .. } => true,
            Body::FailureDetected { .. }
            | Body::CutBySilence { .. }
            | Body::SwitchStarted { .. }
            | Body::SeenElsewhere { .. }
            | Body::ElsewhereOver { .. }
            | Body::AdoptionStarted { .. }
            | Body::SwitchUndone { .. }
            | Body::EvacuationHeld { .. }
            | Body::EvacuationSettled { .. }
            | Body::EvacuationExpires { .. }
            | Body::EvacuationEnded { .. }
            | Body::Classified { .. }
            | Body::IncidentOpened { .. }
            | Body::IncidentEnded { .. }
            | Body::IncidentRecovered { .. }
            | Body::Held { .. }
            | Body::RecoveryInitiated { .. }
            | Body::RungSkipped { .. }
            | Body::RungStarted { .. }
            | Body::StepStarted { .. }
            | Body::StepTimedOut { .. }
            | Body::FenceConfirmed { .. }
            | Body::FencePassedOver { .. }
            | Body::RetryScheduled { .. }
            | Body::RollbackStarted { .. }
            | Body::UndoStarted { .. }
            | Body::BudgetExceeded { .. }
            | Body::RungFailed { .. }
            | Body::Bound { .. }
            | Body::Rejoined { .. }
            | Body::RepairStarted { .. }
            | Body::RepairFailed { .. }
            | Body::RepairCompleted { .. }
            | Body::KeepingStarted { .. }
            | Body::KeepingCompleted { .. }
            | Body::KeepingFailed { .. }
            | Body::KeepingGaveWay { .. }
            | Body::KeepingOverdue { .. }
            | Body::AddressChanged { .. }
            | Body::RouteHeld { .. }
            | Body::RouteFreed { .. }
            | Body::TablePublished { .. }
            | Body::BreakerChanged { .. }
            | Body::RecoveryCompleted { .. }
            | Body::RecoveryFailed { .. }
            | Body::NoticeSent { .. }
            | Body::NoticeResent { .. } => false,
        }
    }
}
