/**
 * The three families of Jimeng servers, as they answer. Behaviour that differs between them is a row here; the rest of
 * the stand-in asks this table and never compares names.
 */
export const dialectNames = ["mapped", "flat-1", "flat-2"] as const;
export type DialectName = (typeof dialectNames)[number];

export interface ModelRow {
  readonly id: string;
  readonly object: "model";
  readonly owned_by: string;
  readonly description?: string;
}

export interface DialectRow {
  /** Sent with every answer besides its content type. */
  readonly headers: Readonly<Record<string, string>>;
  readonly hasChat: boolean;
  readonly hasCompositions: boolean;
  readonly hasVideos: boolean;
  readonly models: readonly ModelRow[];
  /** The code that a dead Jimeng token gets. */
  readonly deadTokenCode: number;
  /** `POST /token/check` says `live:false` instead of failing. */
  readonly deadTokenIsAnAnswer: boolean;
  /** How long it takes to say that Jimeng itself refuses, in milliseconds, and with which code. */
  readonly upstreamDown: { readonly afterMs: number; readonly code: number };
}

const row = (id: string, description?: string): ModelRow =>
  description === undefined
    ? { id, object: "model", owned_by: "jimeng-api" }
    : { id, object: "model", owned_by: "jimeng-api", description };

export const dialects: Readonly<Record<DialectName, DialectRow>> = {
  mapped: {
    headers: { Vary: "Origin", "Access-Control-Allow-Origin": "*", "Accept-Ranges": "bytes" },
    hasChat: true,
    hasCompositions: true,
    hasVideos: true,
    models: [
      row("jimeng-4.5"),
      row("jimeng-4.1"),
      row("jimeng-4.0"),
      row("jimeng-video-3.0", "video from text or pictures"),
      // Real lists name a model twice now and then.
      row("jimeng-4.0"),
    ],
    deadTokenCode: -2002,
    deadTokenIsAnAnswer: false,
    upstreamDown: { afterMs: 43, code: -1000 },
  },
  "flat-1": {
    headers: {},
    hasChat: false,
    hasCompositions: true,
    hasVideos: true,
    models: [row("jimeng-4.5"), row("jimeng-3.1"), row("jimeng-video-3.0"), row("jimeng-video-3.0-pro")],
    deadTokenCode: -2002,
    deadTokenIsAnAnswer: true,
    upstreamDown: { afterMs: 15_000, code: -1000 },
  },
  "flat-2": {
    headers: {},
    hasChat: true,
    hasCompositions: false,
    hasVideos: false,
    models: [row("jimeng-4.5"), row("jimeng-3.0"), row("jimeng-2.1")],
    deadTokenCode: -2001,
    deadTokenIsAnAnswer: false,
    upstreamDown: { afterMs: 43, code: -2001 },
  },
};

const mappedStatus: Readonly<Record<number, number>> = {
  [-2000]: 400,
  [-2002]: 401,
  [-2003]: 400,
  [-2004]: 413,
  [-2006]: 400,
  [-2009]: 402,
};

/** The HTTP status of an error: flat dialects answer 200 to everything, mapped has 500 where nothing better is known. */
export function statusOf(dialect: DialectName, code: number): number {
  return dialect === "mapped" ? (mappedStatus[code] ?? 500) : 200;
}

const messages: Readonly<Record<number, string>> = {
  [-1000]: "系统异常",
  [-2000]: "Params invalid",
  [-2001]: "请求jimeng失败",
  [-2002]: "[登录失效]: 演示令牌已失效",
  [-2003]: "远程文件URL非法",
  [-2004]: "文件超出大小",
  [-2006]: "内容被阻止生成",
  [-2007]: "图像生成失败",
  [-2008]: "视频生成失败",
  [-2009]: "积分不足",
  [-2010]: "任务不存在",
  [-2011]: "任务未完成",
  [-2012]: "任务失败",
  [-2013]: "任务已取消",
};

/** An error as these servers answer it: `{"code":<negative>,"message":…,"data":null}`. */
export class JimengError extends Error {
  readonly code: number;
  constructor(code: number, message = messages[code] ?? `错误 ${code}`) {
    super(message);
    this.code = code;
  }
  body(): string {
    return JSON.stringify({ code: this.code, message: this.message, data: null });
  }
}

/** Refused before anything was sent to Jimeng. Any other code may stand for a submitted job. */
const refusedBeforeSubmit: ReadonlySet<number> = new Set([-2000, -2002, -2003, -2004, -2010, -2011, -2012, -2013]);

export function submitsBefore(error: JimengError): boolean {
  if (error.code === -1000) return !/请求有误|无效的JSON格式|不支持的参数/.test(error.message);
  return !refusedBeforeSubmit.has(error.code);
}
