/** The asynchronous interface of one server process: another process knows nothing of these tasks. */
import { randomUUID } from "node:crypto";
import { JimengError } from "./dialect.ts";

export type TaskType = "image_generation" | "image_composition" | "video_generation";
type TaskStatus = "pending" | "running" | "completed" | "failed" | "cancelled";

interface Task {
  readonly id: string;
  readonly type: TaskType;
  readonly createdMs: number;
  readonly expectedMs: number;
  status: TaskStatus;
  startedMs: number | null;
  endedMs: number | null;
  result: unknown;
  failure: string | null;
}

const iso = (atMs: number | null): string | null => (atMs === null ? null : new Date(atMs).toISOString());

export class TaskList {
  readonly #tasks = new Map<string, Task>();

  /** Starts `work` at once and answers before it has ended. */
  submit(type: TaskType, expectedMs: number, work: () => Promise<unknown>): Record<string, unknown> {
    const task: Task = {
      id: randomUUID(),
      type,
      createdMs: Date.now(),
      expectedMs,
      status: "pending",
      startedMs: null,
      endedMs: null,
      result: null,
      failure: null,
    };
    this.#tasks.set(task.id, task);
    void this.#run(task, work);
    const data = { task_id: task.id, status: "pending", created_at: iso(task.createdMs), message: "任务已提交" };
    return { success: true, data };
  }

  status(id: string): Record<string, unknown> {
    return { success: true, data: this.#view(this.#find(id)) };
  }

  result(id: string): Record<string, unknown> {
    const task = this.#find(id);
    if (task.status === "failed") throw new JimengError(-2012, `任务失败: ${task.failure}`);
    if (task.status === "cancelled") throw new JimengError(-2013);
    if (task.status !== "completed") throw new JimengError(-2011, `任务未完成: ${task.status}`);
    return { success: true, data: { task_id: task.id, status: task.status, result: task.result } };
  }

  /** The job at Jimeng runs on and is charged; only its task is over. */
  cancel(id: string): Record<string, unknown> {
    const task = this.#find(id);
    if (task.endedMs === null) {
      task.status = "cancelled";
      task.endedMs = Date.now();
    }
    return { success: true, data: { task_id: task.id, status: task.status } };
  }

  list(): Record<string, unknown> {
    return { success: true, data: [...this.#tasks.values()].map((task) => this.#view(task)) };
  }

  stats(): Record<string, unknown> {
    const counts: Record<TaskStatus, number> = { pending: 0, running: 0, completed: 0, failed: 0, cancelled: 0 };
    for (const task of this.#tasks.values()) counts[task.status] += 1;
    return { success: true, data: { total: this.#tasks.size, ...counts } };
  }

  #find(id: string): Task {
    const task = this.#tasks.get(id);
    if (task === undefined) throw new JimengError(-2010, `任务不存在: ${id}`);
    return task;
  }

  async #run(task: Task, work: () => Promise<unknown>): Promise<void> {
    task.status = "running";
    task.startedMs = Date.now();
    try {
      task.result = await work();
      this.#end(task, "completed");
    } catch (error) {
      task.failure = error instanceof Error ? error.message : String(error);
      this.#end(task, "failed");
    }
  }

  #end(task: Task, status: TaskStatus): void {
    if (task.endedMs !== null) return;
    task.status = status;
    task.endedMs = Date.now();
  }

  #view(task: Task): Record<string, unknown> {
    const ran = task.startedMs === null ? 0 : (task.endedMs ?? Date.now()) - task.startedMs;
    const done = task.status === "completed";
    return {
      task_id: task.id,
      type: task.type,
      status: task.status,
      progress: done ? 100 : Math.min(90, Math.round((ran / Math.max(1, task.expectedMs)) * 90)),
      created_at: iso(task.createdMs),
      updated_at: iso(task.endedMs ?? Date.now()),
      started_at: iso(task.startedMs),
      completed_at: iso(task.endedMs),
      has_result: done,
      estimated_time_remaining: task.endedMs === null ? Math.max(0, Math.round((task.expectedMs - ran) / 1000)) : null,
    };
  }
}
