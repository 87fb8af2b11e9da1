/** Usage counters of one server process; every process knows only its own share. */
export type UsageKind = "image" | "video" | "avatar";

interface Counts {
  image: number;
  video: number;
  avatar: number;
}

/** What a session may make a day: images, videos, avatars. */
const allowance: Readonly<Counts> = { image: 10, video: 2, avatar: 1 };

export function dayOf(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 10);
}

export class UsageCounters {
  /** Day → session → counts. */
  readonly #days = new Map<string, Map<string, Counts>>();
  readonly #sessions = new Set<string>();

  count(session: string, kind: UsageKind, nowMs: number): void {
    const day = dayOf(nowMs);
    const sessions = this.#days.get(day) ?? new Map<string, Counts>();
    this.#days.set(day, sessions);
    const counts = sessions.get(session) ?? { image: 0, video: 0, avatar: 0 };
    counts[kind] += 1;
    sessions.set(session, counts);
    this.#sessions.add(session);
  }

  stats(day: string): Record<string, unknown> {
    const sessions = this.#days.get(day) ?? new Map<string, Counts>();
    const total = (kind: UsageKind): number => [...sessions.values()].reduce((sum, counts) => sum + counts[kind], 0);
    const mean = (kind: UsageKind): number =>
      sessions.size === 0 ? 0 : Math.round((total(kind) / sessions.size) * 100) / 100;
    const data = {
      total_sessions: this.#sessions.size,
      active_sessions_today: sessions.size,
      total_images_today: total("image"),
      total_videos_today: total("video"),
      total_avatars_today: total("avatar"),
      avg_images_per_session: mean("image"),
      avg_videos_per_session: mean("video"),
      avg_avatars_per_session: mean("avatar"),
    };
    return { success: true, data, date: day };
  }

  session(id: string, day: string): Record<string, unknown> {
    const counts = this.#days.get(day)?.get(id) ?? { image: 0, video: 0, avatar: 0 };
    const remaining = (kind: UsageKind): number => Math.max(0, allowance[kind] - counts[kind]);
    const data = {
      session_id: id,
      date: day,
      image_count: counts.image,
      video_count: counts.video,
      avatar_count: counts.avatar,
      remaining_images: remaining("image"),
      remaining_videos: remaining("video"),
      remaining_avatars: remaining("avatar"),
    };
    return { success: true, data };
  }

  history(id: string): Record<string, unknown> {
    const days = [...this.#days].filter(([, sessions]) => sessions.has(id)).map(([day]) => day);
    return { success: true, data: days.sort().map((day) => this.session(id, day)["data"]) };
  }

  range(from: string, to: string): Record<string, unknown> {
    const days = [...this.#days.keys()].filter((day) => day >= from && day <= to).sort();
    return { success: true, data: days.map((day) => Object.assign({ date: day }, this.stats(day)["data"])) };
  }

  /** Forgets the days before `day`; answers how many those were. */
  cleanup(day: string): number {
    const old = [...this.#days.keys()].filter((known) => known < day);
    for (const known of old) this.#days.delete(known);
    return old.length;
  }
}
