export async function writeDocument(_root: string, _findings: unknown): Promise<void> {}
