//! What must hold for every text that is taken for a plan.

use std::path::Path;

use mainstay_plan::{Compiled, Proof, Severity, Surroundings, compile_in, render};

/// Compiles it and checks: findings lie inside their file and say something, and there is a plan exactly when there is no
/// error.
pub(crate) fn check_in(text: &str, around: &Surroundings<'_>) -> Compiled {
    let compiled = compile_in("plan.yaml", text, Path::new("/etc/mainstay"), around);
    for finding in &compiled.findings {
        for span in std::iter::once(finding.span).chain(finding.others.iter().map(|it| it.span)) {
            let text = &compiled.files[usize::from(span.file)].text;
            assert!(span.start <= span.end && span.range().end <= text.len(), "{finding:?} is outside\n{text}");
            assert!(
                text.is_char_boundary(span.range().start) && text.is_char_boundary(span.range().end),
                "{finding:?}\n{text}"
            );
            assert!(span.line >= 1 && span.line as usize <= text.matches('\n').count() + 1, "{finding:?}\n{text}");
            assert!(span.column >= 1, "{finding:?}\n{text}");
        }
        assert!(!finding.message.is_empty() && !finding.reason.is_empty() && !finding.label.is_empty(), "{finding:?}");
    }
    let errors = compiled.findings.iter().any(|it| it.severity == Severity::Error);
    assert_eq!(errors, compiled.plan.is_none(), "{:#?}\n{text}", compiled.findings);
    let _ = render(&compiled.files, &compiled.findings, true);
    if let Some(plan) = &compiled.plan {
        let _ = Proof::of(plan).text();
    }
    compiled
}
