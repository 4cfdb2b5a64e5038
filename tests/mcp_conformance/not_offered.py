"""The suite's scenarios that need what this server does not offer, and why. All others must pass."""

FIXTURES = "asks for a tool, prompt or resource of a fixed name that only a server made for the suite has"
CALLBACKS = "asks for a tool that asks the client back; no tool here does"
LOGGING = "the server sends no log messages"
SUBSCRIBING = "the server opens no stream, so nothing is subscribed to"
TASKS = "an extension: no tool runs in the background"
PARAMETER_HEADERS = "asks for a tool with arguments that headers repeat; no tool here has any"

NOT_OFFERED = {
    **dict.fromkeys(
        (
            *("tools-call-image", "tools-call-audio", "tools-call-embedded-resource", "tools-call-mixed-content"),
            *("tools-call-with-progress", "json-schema-2020-12", "resources-read-text", "resources-read-binary"),
            *("resources-templates-read", "prompts-get-simple", "prompts-get-with-args"),
            *("prompts-get-embedded-resource", "prompts-get-with-image"),
        ),
        FIXTURES,
    ),
    **dict.fromkeys(
        (
            *("tools-call-sampling", "tools-call-elicitation", "elicitation-sep1034-defaults"),
            *("elicitation-sep1330-enums", "input-required-result-basic-elicitation"),
            *("input-required-result-basic-sampling", "input-required-result-basic-list-roots"),
            *("input-required-result-request-state", "input-required-result-multiple-input-requests"),
            *("input-required-result-multi-round", "input-required-result-non-tool-request"),
            *("input-required-result-result-type", "input-required-result-tampered-state"),
            "input-required-result-capability-check",
        ),
        CALLBACKS,
    ),
    **dict.fromkeys(("logging-set-level", "tools-call-with-logging"), LOGGING),
    **dict.fromkeys(("resources-subscribe", "resources-unsubscribe"), SUBSCRIBING),
    **dict.fromkeys(
        (
            *("tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields", "tasks-request-state-removal"),
            *("tasks-mrtr-input", "tasks-request-headers", "tasks-dispatch-and-envelope", "tasks-required-task-error"),
            "tasks-mrtr-composition",
        ),
        TASKS,
    ),
    "http-custom-header-server-validation": PARAMETER_HEADERS,
}
#: These pass, but say nothing: the tool that they call is not there, and its error is what they look for.
EMPTY = "passes only because a tool that is not there answers with an error"
PASSED_FOR_NOTHING = frozenset(
    {
        *("tools-call-simple-text", "tools-call-error", "input-required-result-missing-input-response"),
        *("input-required-result-ignore-extra-params", "input-required-result-validate-input"),
        "input-required-result-unsupported-methods",
    }
)
#: Checks inside scenarios that otherwise pass.
NOT_OFFERED_CHECKS = {
    "sep-2575-server-rejects-undeclared-capability": CALLBACKS,
    "sep-2575-missing-capability-http-400": CALLBACKS,
}
