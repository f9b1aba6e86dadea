/** The OpenAPI document, made of the routes and their schemas. */
import { z } from 'zod';
import { PROBLEM_CONTENT_TYPE } from './problem.js';
import type { Content, Described, Operation, Route } from './route.js';
import { problemAnswer } from './schemas.js';

type Json = { readonly [name: string]: unknown };

export function openApiDocument(routes: readonly Route[], version: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Raftree',
      version,
      description:
        'A replicated, durable, ordered key-value store. README.md, HTTP and metrics, says what it all means.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }, {}],
    paths: Object.fromEntries(routes.map((route) => [route.path, pathItem(route)])),
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: { Problem: schemaOf(problemAnswer, 'output') },
      responses: {
        Problem: {
          description: 'The request failed, or a condition does not hold',
          content: { [PROBLEM_CONTENT_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
    },
  };
}

function pathItem({ path, operations }: Route): Json {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string);
  const parameters = names.map((name) => ({
    ...{ name, in: 'path', required: true, schema: { type: 'string' } },
    ...(name === 'key' ? { description: 'Percent-encoded; any bytes, and "/" as %2F' } : {}),
  }));
  const described = Object.entries(operations).map(([method, of]) => [
    method.toLowerCase(),
    operationItem(of),
  ]);
  return { ...(parameters.length > 0 ? { parameters } : {}), ...Object.fromEntries(described) };
}

function operationItem({ id, summary, query, body, takes = [], answers, isOpen }: Operation): Json {
  const shape = Object.entries(query.shape as Record<string, z.ZodType>);
  const parameters = [
    ...shape.map(([name, schema]) => {
      const { description, ...rest } = schemaOf(schema, 'input');
      return { name, in: 'query', ...(description ? { description } : {}), schema: rest };
    }),
    ...takes.map((name) => ({ name, in: 'header', schema: { type: 'string' } })),
  ];
  return {
    operationId: id,
    summary,
    ...(isOpen ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body === undefined ? {} : { requestBody: { required: true, content: contentOf(body, 'input') } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, answer]) => [status, responseItem(answer)]),
      ),
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

function responseItem({ description, content, textType, ndjson, hasEtag }: Described): Json {
  const forms = {
    ...(content === undefined ? {} : contentOf(content, 'output', textType)),
    ...(ndjson === undefined ? {} : { 'application/x-ndjson': { schema: schemaOf(ndjson, 'output') } }),
  };
  return {
    description,
    ...(hasEtag
      ? { headers: { ETag: { description: 'The version of the key', schema: { type: 'string' } } } }
      : {}),
    ...(Object.keys(forms).length > 0 ? { content: forms } : {}),
  };
}

function contentOf(content: Content, io: 'input' | 'output', textType = 'text/plain'): Json {
  if (content === 'bytes') return { 'application/octet-stream': {} };
  if (content === 'text') return { [textType]: { schema: { type: 'string' } } };
  return { 'application/json': { schema: schemaOf(content, io) } };
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io });
  return rest;
}
