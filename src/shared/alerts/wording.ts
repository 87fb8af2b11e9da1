/** What an alert says to people, in English and in Chinese. Names of backends are public; nothing else of them is said. */
import type { AlertName } from "../config/config.ts";
import type { Notification } from "./evaluate.ts";

export type Language = "en" | "zh";

interface Wording {
  readonly firing: (alert: Notification) => string;
  readonly resolved: (alert: Notification) => string;
}

const english: Readonly<Record<AlertName, Wording>> = {
  backend_down: {
    firing: ({ subject }) => `backend ${subject} is down`,
    resolved: ({ subject }) => `backend ${subject} is up again`,
  },
  tier_down: {
    firing: ({ subject, value }) =>
      `tier ${subject} has ${value === 0 ? "no usable backend" : `only ${value} usable`} left`,
    resolved: ({ subject }) => `tier ${subject} is usable again`,
  },
  error_rate: {
    firing: ({ value, threshold }) => `${percent(value)} of requests fail (limit ${percent(threshold)})`,
    resolved: () => "the error rate is back to normal",
  },
  latency_p95: {
    firing: ({ value, threshold }) => `the p95 of cheap requests is ${value.toFixed(2)} s (limit ${threshold} s)`,
    resolved: () => "the p95 of cheap requests is back to normal",
  },
  request_rate: {
    firing: ({ value }) =>
      value >= 1
        ? `requests are ${value.toFixed(1)} times the usual`
        : `requests have fallen to ${percent(value)} of the usual`,
    resolved: () => "the request rate is back to its usual",
  },
  many_blocks: {
    firing: ({ value, threshold }) => `${value} clients are blocked (limit ${threshold})`,
    resolved: () => "few clients are blocked again",
  },
  probe_late: {
    firing: ({ value }) => `the health probes ran ${Math.round(value)} s late`,
    resolved: () => "the health probes run on time again",
  },
};

const chinese: Readonly<Record<AlertName, Wording>> = {
  backend_down: {
    firing: ({ subject }) => `后端 ${subject} 不可用`,
    resolved: ({ subject }) => `后端 ${subject} 已恢复`,
  },
  tier_down: {
    firing: ({ subject, value }) => `优先级 ${subject} 的后端${value === 0 ? "全部不可用" : `仅剩 ${value} 个可用`}`,
    resolved: ({ subject }) => `优先级 ${subject} 的后端已恢复可用`,
  },
  error_rate: {
    firing: ({ value, threshold }) => `错误率 ${percent(value)}（阈值 ${percent(threshold)}）`,
    resolved: () => "错误率已恢复正常",
  },
  latency_p95: {
    firing: ({ value, threshold }) => `普通请求 P95 延迟 ${value.toFixed(2)} 秒（阈值 ${threshold} 秒）`,
    resolved: () => "普通请求 P95 延迟已恢复正常",
  },
  request_rate: {
    firing: ({ value }) =>
      value >= 1 ? `请求量是平时的 ${value.toFixed(1)} 倍` : `请求量降到平时的 ${percent(value)}`,
    resolved: () => "请求量已恢复正常",
  },
  many_blocks: {
    firing: ({ value, threshold }) => `当前有 ${value} 个客户端被封禁（阈值 ${threshold}）`,
    resolved: () => "被封禁的客户端数量已恢复正常",
  },
  probe_late: {
    firing: ({ value }) => `健康检查延迟了 ${Math.round(value)} 秒`,
    resolved: () => "健康检查已恢复准时",
  },
};

const wordings = { en: english, zh: chinese } as const;
const labels = { en: { firing: "ALERT", resolved: "RESOLVED" }, zh: { firing: "告警", resolved: "恢复" } } as const;

/** One line without its end: `[ALERT] backend a is down`. */
export function sentence(alert: Notification, language: Language): string {
  const text = `[${labels[language][alert.status]}] ${wordings[language][alert.rule][alert.status](alert)}`;
  if (alert.status === "firing") return text;
  const lasted = duration(alert.atMs - alert.sinceMs, language);
  return language === "zh" ? `${text}（持续 ${lasted}）` : `${text} (after ${lasted})`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** The two largest parts of a duration: `2 h 5 min`. */
function duration(ms: number, language: Language): string {
  const units = language === "zh" ? ["天", "小时", "分", "秒"] : ["d", "h", "min", "s"];
  let rest = Math.max(0, Math.round(ms / 1000));
  const parts: string[] = [];
  for (const [index, size] of [86_400, 3600, 60, 1].entries()) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${units[index] ?? ""}`);
  }
  return parts.length === 0 ? `0 ${units[3] ?? ""}` : parts.slice(0, 2).join(" ");
}
