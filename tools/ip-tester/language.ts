/** Everything the tester says to people, in two languages. JSON output has none of it. */
import type { CauseKind, Phase } from "./cause.ts";
import type { ServerStatus } from "./summary.ts";

export interface Language {
  readonly description: string;
  readonly argument: string;
  readonly options: Readonly<Record<OptionName, string>>;
  readonly exitCodes: string;
  readonly testing: (servers: number, seconds: number) => string;
  readonly progress: string;
  readonly headings: {
    readonly latency: readonly string[];
    readonly parts: readonly string[];
    readonly errors: readonly string[];
    readonly recommendation: readonly string[];
    readonly edge: readonly string[];
  };
  readonly titles: {
    readonly latency: string;
    readonly parts: string;
    readonly errors: string;
    readonly recommendation: string;
    readonly edge: string;
  };
  readonly statuses: Readonly<Record<ServerStatus, string>>;
  readonly causes: Readonly<Record<CauseKind, string>>;
  readonly phases: Readonly<Record<Phase, string>>;
  readonly edgeNote: string;
  readonly notOnEdge: string;
  readonly applied: (name: string, from: number, to: number) => string;
  readonly unchanged: (name: string, weight: number) => string;
  readonly zeroWeight: (names: string) => string;
  readonly notApplied: (reason: string) => string;
  readonly nothingReachable: string;
  readonly noServers: string;
  readonly needsEdge: string;
  readonly needsToken: string;
  readonly badToken: string;
  readonly plainToken: (edge: string) => string;
  readonly askedWithout: (names: string) => string;
  readonly unknownOption: (name: string) => string;
  readonly badNumber: (option: string, kind: "whole" | "any", min: number, max: number, received: string) => string;
  readonly badValue: (option: string, allowed: string, received: string) => string;
  readonly tooManyRequests: (requests: number, allowed: number) => string;
  readonly tooManyServers: (servers: number, allowed: number) => string;
}

export type OptionName =
  | "file"
  | "edge"
  | "token"
  | "region"
  | "concurrency"
  | "duration"
  | "timeout"
  | "interval"
  | "path"
  | "expect"
  | "apply"
  | "json"
  | "zh"
  | "help";

export const english: Language = {
  description:
    "Measures your Jimeng servers, ranks them and suggests weights. Without servers it reads BACKEND_SERVERS from the environment or .dev.vars.",
  argument: "Servers: https://host or name=https://host, as many as you like",
  options: {
    file: "File with servers: JSON like BACKEND_SERVERS, or one per line",
    edge: "Running edge: its servers are tested, its measurements compared",
    token: "Operators' token of the edge; ADMIN_TOKEN in the environment keeps it out of the process list",
    region: "Compare with what this region of the edge measured",
    concurrency: "Requests in flight at most, shared out evenly among the servers",
    duration: "Seconds",
    timeout: "Seconds for one request",
    interval: "Milliseconds between two requests, in turn over the servers",
    path: "Path to ask for; otherwise each server's health path (/ping)",
    expect: 'Text the body must contain; "pong" for /ping; --expect= takes any 2xx answer',
    apply: "Send the suggested weights to the edge",
    json: "One JSON object on stdout",
    zh: "Chinese output (中文输出)",
    help: "Show this",
  },
  exitCodes:
    "Exit code: 0 all servers good, 1 some unavailable or below 99 % available, 2 bad usage, nothing reachable, or the edge refused.",
  testing: (servers, seconds) =>
    `Testing ${servers} ${servers === 1 ? "server" : "servers"} for ${seconds} s, in turn, a new connection each time …`,
  progress: "{bar} {percentage}% | {done} requests, {failed} failed | {duration_formatted}",
  headings: {
    latency: ["Server", "Status", "Requests", "Availability", "Min", "Avg", "P50", "P95", "P99", "Max"],
    parts: ["Server", "DNS", "TCP", "TLS", "First byte"],
    errors: ["Server", "Cause", "Count", "While", "Detail"],
    recommendation: ["#", "Server", "URL", "Suggested weight"],
    edge: ["Server", "State", "Weight", "Requests", "Success", "Avg", "P50", "P95", "Here: P50", "Here: P95"],
  },
  titles: {
    latency: "Whole request, milliseconds (successful ones)",
    parts: "Where the time goes, milliseconds (medians)",
    errors: "Failures",
    recommendation: "Recommended order: availability, then average, then P95",
    edge: "What the edge measured, last hour",
  },
  statuses: { good: "good", degraded: "degraded", unavailable: "unavailable" },
  causes: {
    refused: "connection refused",
    reset: "connection reset",
    dns: "name not resolved",
    tls: "TLS failed",
    timeout: "timeout",
    unreachable: "network unreachable",
    http_status: "HTTP status",
    wrong_body: "wrong body",
    protocol: "not HTTP",
    other: "other",
  },
  phases: {
    dns: "looking up the name",
    connect: "connecting",
    tls: "TLS handshake",
    first_byte: "waiting for the first byte",
    body: "reading the body",
  },
  edgeNote:
    "The edge measures real requests from its own data centres, this program one path from here: a difference is the network's, not a mistake.",
  notOnEdge: "not on the edge",
  applied: (name, from, to) => `${name}: weight ${from} → ${to}`,
  unchanged: (name, weight) => `${name}: weight stays ${weight}`,
  zeroWeight: (names) => `Weight 0 means no new requests until you set another weight, also after recovery: ${names}`,
  notApplied: (reason) => `Weights not applied: ${reason}`,
  nothingReachable: "no server answered as it should",
  noServers:
    "No servers: give URLs, --file, or --edge with --token, or set BACKEND_SERVERS in the environment or in .dev.vars. --help says more.",
  needsEdge: "--apply and --region need --edge",
  needsToken: "--edge needs --token, or ADMIN_TOKEN in the environment or in .dev.vars",
  badToken: "--token: expected printable ASCII characters without spaces",
  plainToken: (edge) => `Warning: the token travels unencrypted to ${edge}`,
  askedWithout: (names) =>
    `The edge asks with secret headers that are not known here, so these say nothing and keep their weights: ${names}. Set BACKEND_SERVERS here to send them.`,
  unknownOption: (name) => `Unknown option --${name}; --help lists them`,
  badNumber: (option, kind, min, max, received) =>
    `--${option}: expected a ${kind === "whole" ? "whole number" : "number"} from ${min} to ${max}, got ${received}`,
  badValue: (option, allowed, received) => `--${option}: expected ${allowed}, got ${received}`,
  tooManyRequests: (requests, allowed) =>
    `--duration and --interval: expected at most ${allowed} requests in all, these make ${requests}`,
  tooManyServers: (servers, allowed) => `servers: expected at most ${allowed}, got ${servers}`,
};

export const chinese: Language = {
  description:
    "测量你自己的即梦服务器，排出先后并建议权重。不给服务器时，从环境变量或 .dev.vars 读取 BACKEND_SERVERS。",
  argument: "服务器：https://主机 或 名称=https://主机，可以给多个",
  options: {
    file: "服务器列表文件：与 BACKEND_SERVERS 相同的 JSON，或每行一个",
    edge: "正在运行的边缘网关：测试它的服务器，并与它的测量结果对比",
    token: "网关的管理令牌；放在环境变量 ADMIN_TOKEN 里就不会出现在进程列表中",
    region: "与网关某个区域的测量结果对比",
    concurrency: "最多同时进行的请求数，平均分给各服务器",
    duration: "测试秒数",
    timeout: "单个请求的超时秒数",
    interval: "两个请求之间的毫秒数，按顺序轮流访问各服务器",
    path: "请求路径；不给则用各服务器的健康检查路径（/ping）",
    expect: "响应正文必须包含的文字；/ping 默认为 pong；--expect= 表示任何 2xx 都算成功",
    apply: "把建议的权重写入网关",
    json: "在标准输出打印一个 JSON 对象",
    zh: "中文输出",
    help: "显示本说明",
  },
  exitCodes: "退出码：0 全部良好；1 有服务器不可用或可用率低于 99 %；2 用法错误、没有一台可达，或网关拒绝。",
  testing: (servers, seconds) => `正在测试 ${servers} 台服务器，共 ${seconds} 秒，轮流访问，每次新建连接 …`,
  progress: "{bar} {percentage}% | 已完成 {done} 次，失败 {failed} 次 | {duration_formatted}",
  headings: {
    latency: ["服务器", "状态", "请求数", "可用率", "最小", "平均", "P50", "P95", "P99", "最大"],
    parts: ["服务器", "DNS 解析", "TCP 连接", "TLS 握手", "首字节"],
    errors: ["服务器", "原因", "次数", "阶段", "详情"],
    recommendation: ["#", "服务器", "地址", "建议权重"],
    edge: ["服务器", "状态", "权重", "请求数", "成功率", "平均", "P50", "P95", "本机 P50", "本机 P95"],
  },
  titles: {
    latency: "整个请求耗时，毫秒（仅成功的请求）",
    parts: "时间花在哪里，毫秒（中位数）",
    errors: "失败",
    recommendation: "推荐顺序：先可用率，再平均耗时，再 P95",
    edge: "网关最近一小时的测量",
  },
  statuses: { good: "良好", degraded: "降级", unavailable: "不可用" },
  causes: {
    refused: "连接被拒绝",
    reset: "连接被重置",
    dns: "域名解析失败",
    tls: "TLS 失败",
    timeout: "超时",
    unreachable: "网络不可达",
    http_status: "HTTP 状态码",
    wrong_body: "响应内容不对",
    protocol: "不是 HTTP",
    other: "其他",
  },
  phases: {
    dns: "解析域名时",
    connect: "建立连接时",
    tls: "TLS 握手时",
    first_byte: "等待首字节时",
    body: "读取正文时",
  },
  edgeNote:
    "网关测的是它各个数据中心发出的真实请求，本程序测的是从这台机器出发的一条路径：两者不同是网络所致，并非错误。",
  notOnEdge: "网关上没有",
  applied: (name, from, to) => `${name}：权重 ${from} → ${to}`,
  unchanged: (name, weight) => `${name}：权重保持 ${weight}`,
  zeroWeight: (names) => `权重 0 表示不再接收新请求，恢复后也不会自动改回，需要你重新设置：${names}`,
  notApplied: (reason) => `未写入权重：${reason}`,
  nothingReachable: "没有一台服务器正常应答",
  noServers:
    "没有服务器：请给出地址、--file，或 --edge 加 --token，或在环境变量或 .dev.vars 中设置 BACKEND_SERVERS。详见 --help。",
  needsEdge: "--apply 和 --region 需要 --edge",
  needsToken: "--edge 需要 --token，或在环境变量或 .dev.vars 中设置 ADMIN_TOKEN",
  badToken: "--token：应为不含空格的可打印 ASCII 字符",
  plainToken: (edge) => `警告：令牌以明文发送到 ${edge}`,
  askedWithout: (names) =>
    `网关访问这些服务器时带有此处未知的密钥请求头，因此对它们的测量不说明问题，权重保持不变：${names}。在此处设置 BACKEND_SERVERS 即可带上。`,
  unknownOption: (name) => `未知选项 --${name}；--help 列出全部选项`,
  badNumber: (option, kind, min, max, received) =>
    `--${option}：应为 ${min} 到 ${max} 的${kind === "whole" ? "整数" : "数"}，收到 ${received}`,
  badValue: (option, allowed, received) => `--${option}：应为 ${allowed}，收到 ${received}`,
  tooManyRequests: (requests, allowed) => `--duration 与 --interval：总请求数最多 ${allowed}，按所给的值是 ${requests}`,
  tooManyServers: (servers, allowed) => `服务器：最多 ${allowed} 台，收到 ${servers} 台`,
};
