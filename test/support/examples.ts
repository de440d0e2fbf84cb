/** The examples of the API reference: every fenced block behind an `@example` in lib, as programs. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { onCleanup } from './cleanup.js';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Example {
  /** `overlay-123.ts`: file and line of lib. */
  readonly name: string;
  readonly code: string;
  /** Output that it announces, a line for each console.log with a comment behind it. */
  readonly prints: readonly string[];
  /** `fake`: it brings a kernel of its own; `real`: it uses what the fake one has not; `any`: it asks none. */
  readonly on: 'both' | 'fake' | 'real' | 'any';
}

export function examples(): Example[] {
  const files = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.ts'),
  );
  return files.sort().flatMap((path) => {
    const text = readFileSync(join(ROOT, 'lib', path), 'utf8');
    return [...text.matchAll(/\/\*\*[\s\S]*?\*\//g)].flatMap((comment) =>
      [...comment[0].matchAll(/@example\s*\n\s*\* ```ts\n([\s\S]*?)\s*\* ```/g)].map((block): Example => {
        const code = (block[1] as string).replaceAll(/^\s*\* ?/gm, '');
        const line = text.slice(0, comment.index + block.index).split('\n').length;
        return {
          name: `${path.replace(/\.ts$/, '').replaceAll('/', '-')}-${line}.ts`,
          code,
          prints: expected(code),
          on: kernels(code),
        };
      }),
    );
  });
}

function kernels(code: string): Example['on'] {
  if (!/^import \{/m.test(code)) return 'any';
  if (code.includes("'overns/testing'")) return 'fake';
  return /\bnetns\.(connect|listen|dgram|spawn|exec)\(|\.counters\(|\.(vlans|mdb)\.list\(|\.(rules|nexthops)\.add\(/.test(
    code,
  )
    ? 'real'
    : 'both';
}

/** `console.log(x); // y` */
function expected(code: string): string[] {
  return [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map((match) => match[1] as string);
}

// Below the package, so that it is found by its own name.
const folder = join(ROOT, '.cache', `examples-${process.pid}`);

/** Where {@link writePrograms} writes an example as JavaScript. */
export const program = ({ name }: Example): string => join(folder, name.replace(/ts$/, 'mjs'));

/** Writes the examples as they are, and as JavaScript; they are gone after the test file. */
export async function writePrograms(all: readonly Example[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  onCleanup(() => rm(folder, { recursive: true, force: true }));
  for (const example of all) {
    await writeFile(join(folder, example.name), example.code);
    await writeFile(program(example), compile(example));
  }
}

/** JavaScript that Node 20 runs, which does not know `using` yet. */
function compile({ code }: Example): string {
  const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
  return ts.transpileModule(code, { compilerOptions: options }).outputText;
}

/** Finds what in the written examples is no TypeScript. */
export function typeErrors(all: readonly Example[]): string[] {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT);
  const program = ts.createProgram(
    all.map(({ name }) => join(folder, name)),
    { ...options, noEmit: true, rootDir: ROOT, declaration: false },
  );
  return ts.getPreEmitDiagnostics(program).map((each) => {
    const at = each.file === undefined ? '' : `${each.file.fileName.slice(folder.length + 1)}: `;
    return at + ts.flattenDiagnosticMessageText(each.messageText, '\n');
  });
}

/** Exported classes, their public methods, functions and types without an example. */
export function withoutExample(): string[] {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT);
  const entries = ['lib/index.ts', 'lib/testing/index.ts'].map((path) => join(ROOT, path));
  const program = ts.createProgram(entries, { ...options, noEmit: true });
  const checker = program.getTypeChecker();
  const fenced = (tag: ts.JSDocTag): boolean => tag.tagName.text === 'example' && tag.getText().includes('```ts');
  const has = (node: ts.Node): boolean => ts.getJSDocTags(node).some(fenced);
  const missing: string[] = [];
  // One of several overloads will do.
  const need = (name: string, declarations: readonly ts.Node[]): void => {
    if (declarations.length > 0 && !declarations.some(has)) missing.push(name);
  };
  const visit = (module: ts.Symbol, prefix: string): void => {
    for (const exported of checker.getExportsOfModule(module)) {
      const symbol = (exported.flags & ts.SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(exported) : exported;
      const name = prefix + exported.name;
      if ((symbol.flags & ts.SymbolFlags.ValueModule) !== 0) visit(symbol, `${name}.`);
      const declarations = symbol.declarations ?? [];
      need(
        name,
        declarations.filter((each) =>
          [ts.isClassDeclaration, ts.isFunctionDeclaration, ts.isInterfaceDeclaration, ts.isTypeAliasDeclaration].some(
            (is) => is(each),
          ),
        ),
      );
      for (const declaration of declarations.filter(ts.isClassDeclaration)) {
        const methods = declaration.members.filter(ts.isMethodDeclaration).filter((member) => {
          const hidden = ts.getCombinedModifierFlags(member) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected);
          return hidden === 0 && ts.isIdentifier(member.name);
        });
        const keyOf = (member: ts.MethodDeclaration): string =>
          `${name}.${(ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Static) === 0 ? '' : 'static '}${member.name.getText()}`;
        for (const key of new Set(methods.map(keyOf)))
          need(
            key,
            methods.filter((member) => keyOf(member) === key),
          );
      }
    }
  };
  for (const entry of entries) {
    const source = program.getSourceFile(entry);
    const module = source && checker.getSymbolAtLocation(source);
    if (module) visit(module, '');
  }
  return missing;
}
