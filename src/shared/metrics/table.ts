/** Every metric of ours: name, type, labels and what it says, once. The dashboard, the alert rules and `/metrics` use no other. */
import type { MetricType } from "./exposition.ts";

export interface MetricDefinition {
  readonly type: MetricType;
  readonly help: string;
  readonly labels: readonly string[];
}

const counter = (help: string, ...labels: string[]): MetricDefinition => ({ type: "counter", help, labels });
const gauge = (help: string, ...labels: string[]): MetricDefinition => ({ type: "gauge", help, labels });
const histogram = (help: string, ...labels: string[]): MetricDefinition => ({ type: "histogram", help, labels });

export const metrics = {
  // Backends, as they stand.
  jimeng_edge_backend_info: gauge(
    "Always 1; where a backend stands and what it speaks.",
    "backend",
    "priority",
    "region",
    "dialect",
  ),
  jimeng_edge_backend_up: gauge("1 while the backend may be picked, by health and by the operator's word.", "backend"),
  jimeng_edge_backend_state: gauge("1 for the health state the backend is in.", "backend", "state"),
  jimeng_edge_backend_operator_state: gauge("1 for what the operator wants of the backend.", "backend", "state"),
  jimeng_edge_backend_weight: gauge("Weight, as configured or overridden.", "backend"),
  jimeng_edge_backend_weight_share_ratio: gauge("Share of its weight that slow start grants.", "backend"),
  jimeng_edge_backend_in_flight_requests: gauge("Requests in flight, of the whole edge.", "backend"),
  jimeng_edge_backend_max_in_flight_requests: gauge(
    "Requests in flight it may have; absent without a bound.",
    "backend",
  ),
  jimeng_edge_backend_open_age_seconds: gauge("Mean age of the requests in flight.", "backend"),
  jimeng_edge_backend_consecutive_failures: gauge("Failures in a row.", "backend"),
  jimeng_edge_backend_last_check_timestamp_seconds: gauge(
    "When it was last probed; absent before the first probe.",
    "backend",
  ),
  jimeng_edge_backend_last_sign_of_life_timestamp_seconds: gauge(
    "When it last answered anything; absent before.",
    "backend",
  ),
  // Backends, counted.
  jimeng_edge_backend_attempts_total: counter(
    "Attempts that ended, by what became of them.",
    "backend",
    "class",
    "outcome",
  ),
  jimeng_edge_backend_response_bytes_total: counter("Bytes of answers' bodies.", "backend"),
  jimeng_edge_backend_probes_total: counter("Health probes, by result.", "backend", "result"),
  jimeng_edge_backend_ejections_total: counter("Times it was taken out of rotation.", "backend"),
  jimeng_edge_backend_request_duration_seconds: histogram(
    "Duration of attempts: to the end of the answer for generations, to its first byte for streams.",
    "backend", "class", "edge_region",
  ), // prettier-ignore
  // The edge.
  jimeng_edge_requests_total: counter("Clients' requests that the edge reported."),
  jimeng_edge_retries_total: counter("Attempts after the first."),
  jimeng_edge_retries_denied_total: counter("Attempts that the fleet-wide budget refused."),
  jimeng_edge_retry_budget_retries: gauge("Retries that the fleet-wide budget would grant now."),
  jimeng_edge_limiter_decisions_total: counter("Decisions of the rate limiter.", "decision"),
  jimeng_edge_limiter_blocked_clients: gauge("Clients blocked now; absent while the ledger can't be asked."),
  jimeng_edge_cache_results_total: counter("Look-ups in the cache, by result.", "result"),
  jimeng_edge_registry_calls_total: counter("Calls to the registry.", "call"),
  jimeng_edge_log_rows_dropped_total: counter("Log rows that found no room."),
  jimeng_edge_isolates: gauge("Isolates that reported lately."),
  // The registry itself.
  jimeng_edge_leases: gauge("Expensive requests under way; orphaned: their client has gone.", "state"),
  jimeng_edge_config_overrides: gauge("Settings that an operator overrides at run time."),
  jimeng_edge_alerts_firing: gauge("Alerts that were told and have not ended.", "rule"),
  jimeng_edge_alert_messages_dropped_total: counter("Messages to webhooks that were given up."),
  jimeng_edge_alarm_lateness_seconds: gauge("How late the registry's last alarm ran."),
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof metrics;
export const metricNames = Object.keys(metrics) as readonly MetricName[];
