WITH scope (id, search_vector) AS NOT MATERIALIZED (
    SELECT id, words FROM (SELECT "memories_memory"."id" AS "pk", "memories_memory"."search_vector" AS "search_vector", "memories_memory"."content" AS "content" FROM "memories_memory" WHERE (("memories_memory"."expires_at" IS NULL OR "memories_memory"."expires_at" > (STATEMENT_TIMESTAMP())) AND NOT ("memories_memory"."state" IN (%(m0)s, %(m1)s, %(m2)s)) AND "memories_memory"."namespace_id" = %(m3)s AND "memories_memory"."user_id" = %(m4)s)) AS given (id, words, content)
),
crossover AS MATERIALIZED (
    SELECT coalesce(sum(memories), 0) AS known,
           least(greatest(5000, max(memories_in_index) / 20), 20000) AS rows
    FROM memories_namespacesize stored WHERE stored.namespace_id = coalesce(%(namespace)s::bigint, stored.namespace_id)
),
scope_ids AS MATERIALIZED (SELECT id FROM scope LIMIT (SELECT rows + 1 FROM crossover)),
size AS MATERIALIZED (
    SELECT CASE WHEN n <= c.rows THEN n ELSE greatest(n, c.known) END::float8 AS rows, n <= c.rows AS few
    FROM crossover c, (SELECT count(*) AS n FROM scope_ids) counted
),
vectors (id, vector) AS NOT MATERIALIZED (SELECT "memories_embedding"."memory_id" AS "memory_id", "memories_embedding"."vector" AS "vector" FROM "memories_embedding" WHERE ("memories_embedding"."model" = %(v0)s AND ("memories_embedding"."expires_at" IS NULL OR "memories_embedding"."expires_at" > (STATEMENT_TIMESTAMP())) AND "memories_embedding"."namespace_id" = %(v1)s AND "memories_embedding"."user_id" = %(v2)s)),
similarities AS MATERIALIZED (SELECT id, -(vector <#> %(vector)s) AS similarity FROM vectors WHERE (SELECT few FROM size)),
nearest AS MATERIALIZED ((SELECT id, similarity FROM similarities ORDER BY similarity DESC LIMIT %(depth)s) UNION ALL (
SELECT id, similarity FROM (
    SELECT id, -(vector <#> %(vector)s) AS similarity FROM vectors WHERE NOT (SELECT few FROM size)
    ORDER BY vector <#> %(vector)s LIMIT %(depth)s * 2
) relaxed ORDER BY similarity DESC LIMIT %(depth)s)),
noise AS MATERIALIZED (
    SELECT (sum(similarity) + 10 * %(noise_mean)s::float8) / (count(*) + 10) AS mean,
           sqrt((coalesce(var_pop(similarity), 0) * count(*) + 10 * %(noise_spread)s::float8 ^ 2) / (count(*) + 10))
               AS spread
    FROM ((SELECT similarity FROM similarities LIMIT 2000) UNION ALL (SELECT -(vector <#> %(vector)s) AS similarity FROM vectors WHERE NOT (SELECT few FROM size) LIMIT 500)) sample
),
nodes AS MATERIALIZED (
    SELECT row_number() OVER () AS n, node::tsquery AS node
    FROM (
        SELECT m[1] AS node
        FROM querytree(memories_parse_query(%(query)s)) tree, LATERAL (
            SELECT regexp_matches(tree, $$('(?:[^']|'')+'(?::\*)?(?: <(?:-|\d+)> '(?:[^']|'')+'(?::\*)?)+)$$, 'g') AS m
            UNION ALL
            SELECT regexp_matches(tree, $$('(?:[^']|'')+'(?::\*)?)$$, 'g')
        ) found
        -- The parser returns a hyphenated word whole and in parts; the parts suffice.
        WHERE m[1] !~ $$'[^']*[[:alpha:]]-[[:alpha:]][^']*' <$$
        GROUP BY m[1] ORDER BY length(m[1]) DESC LIMIT 30
    ) distinct_nodes
),
sample AS MATERIALIZED (SELECT search_vector FROM scope LIMIT 200),
node_plan AS MATERIALIZED (
    SELECT n, node, estimate,
           sum(estimate) OVER (ORDER BY estimate, n) <= 1500
           OR row_number() OVER (PARTITION BY estimate > 0 ORDER BY estimate, n) = 1 AS looked_up
    FROM (
        SELECT n, node, CASE WHEN size.rows <= 2000 THEN 0 ELSE size.rows
            * (SELECT count(*) FROM sample WHERE search_vector @@ node) / greatest((SELECT count(*) FROM sample), 1)
        END AS estimate
        FROM nodes, size OFFSET 0
    ) estimated
),
postings AS MATERIALIZED (
    SELECT node_plan.n, hit.id, hit.rank, hit.words
    FROM node_plan, LATERAL (
        SELECT id, ts_rank('{1,1,1,1}', search_vector, node_plan.node) AS rank, length(search_vector) AS words
        FROM scope WHERE search_vector @@ node_plan.node LIMIT 2000
    ) hit
    WHERE node_plan.looked_up
    UNION
    SELECT node_plan.n, hit.id, ts_rank('{1,1,1,1}', search_vector, node_plan.node), length(search_vector)
    FROM (
        SELECT string_agg(node::text, ' & ')::tsquery AS nodes FROM (
            SELECT node FROM node_plan
            WHERE estimate > 0 AND node::text NOT LIKE '%%:*%%' AND EXISTS (SELECT FROM node_plan WHERE NOT looked_up)
            ORDER BY estimate, n LIMIT 2
        ) rarest
    ) common, LATERAL (SELECT id, search_vector FROM scope WHERE search_vector @@ common.nodes LIMIT 200) hit
    JOIN node_plan ON (NOT looked_up OR estimate > 1500) AND search_vector @@ node_plan.node
),
node_weights AS MATERIALIZED (
    SELECT n, node, df, open,
           CASE WHEN has_number THEN 2 ELSE 1 END::float8
           * ln(1 + (greatest(size.rows - df, 0) + 0.5::float8) / (df + 0.5::float8)) AS idf,
           CASE WHEN NOT rare THEN NULL
                WHEN is_identifier AND df = min(df) FILTER (WHERE rare AND is_identifier) OVER () THEN 2
                WHEN is_name THEN 2
                WHEN df = min(df) FILTER (WHERE rare) OVER () THEN least(ln(greatest(size.rows, 1) / df) / 5, 1) ^ 2
           END::float8 AS name
    FROM size, (
        SELECT *, has_number OR is_phrase AS is_identifier,
               df > 0 AND NOT open AND df <= CASE WHEN has_number OR is_phrase THEN 50 ELSE 3 END AS rare
        FROM (
            SELECT node_plan.n, node, NOT looked_up OR coalesce(found, 0) >= 2000 AS open,
                   CASE WHEN looked_up AND coalesce(found, 0) < 2000 THEN coalesce(found, 0)
                        ELSE greatest(estimate, coalesce(found, 0)) END::float8 AS df,
                   node::text ~ '[[:digit:]]{3}' AS has_number, node::text LIKE '%%<%%' AS is_phrase,
                   strpos(memories_parse_query(%(names)s)::text, node::text) > 0 AS is_name
            FROM node_plan LEFT JOIN (SELECT n, count(*) AS found FROM postings GROUP BY n) counted USING (n)
        ) known
    ) frequency
),
query_totals AS MATERIALIZED (
    SELECT (SELECT greatest(sum(idf), 1e-9::float8) FROM node_weights) AS possible_idf,
           (SELECT greatest(sum(idf) FILTER (WHERE df > 0 OR open), 1e-9::float8) FROM node_weights) AS present_idf,
           (SELECT greatest(avg(length(search_vector)), 1)::float8 FROM sample) AS average_length
),
matches AS MATERIALIZED (
    SELECT id, min(words) AS words, sum(idf * rank) AS weight, sum(idf) AS presence,
           coalesce(sum(idf * rank) FILTER (WHERE NOT open), 0) AS closed_weight,
           coalesce(sum(idf) FILTER (WHERE NOT open), 0) AS closed_presence,
           max(name) AS name
    FROM postings JOIN node_weights USING (n) GROUP BY id
),
top_matches AS MATERIALIZED (
    SELECT id FROM matches CROSS JOIN query_totals ORDER BY name DESC NULLS LAST, (weight / 0.6079::float8
            * (average_length / greatest(words, 1)) ^ 0.35::float8 / possible_idf) ^ 1.25::float8
           + least(presence / present_idf, 1) ^ 4::float8 * present_idf / possible_idf DESC, id LIMIT %(depth)s
),
candidates AS MATERIALIZED (SELECT id FROM top_matches UNION SELECT id FROM nearest),
open_matches AS MATERIALIZED (
    SELECT candidates.id, min(length(search_vector)) AS words,
           sum(idf * ts_rank('{1,1,1,1}', search_vector, node)) AS weight, sum(idf) AS presence
    FROM candidates
    JOIN memories_memory memory
        ON memory.namespace_id = coalesce(%(namespace)s::bigint, memory.namespace_id) AND memory.id = candidates.id
    JOIN node_weights ON open AND search_vector @@ node
    GROUP BY candidates.id
),
text_ranks AS MATERIALIZED (
    SELECT id, name, ((coalesce(closed_weight, 0) + coalesce(open_matches.weight, 0)) / 0.6079::float8
            * (average_length / greatest(matches.words, open_matches.words, 1)) ^ 0.35::float8 / possible_idf) ^ 1.25::float8
           + least((coalesce(closed_presence, 0) + coalesce(open_matches.presence, 0)) / present_idf, 1) ^ 4::float8 * present_idf / possible_idf AS text_rank
    FROM candidates CROSS JOIN query_totals LEFT JOIN matches USING (id) LEFT JOIN open_matches USING (id)
    WHERE matches.id IS NOT NULL OR open_matches.id IS NOT NULL
),
hits AS MATERIALIZED (
    SELECT id, 1 - exp(-(
               2 * (1 - exp(-least(lead, 10) ^ 3 / 2)) + greatest(least(lead, 10) - 1, 0) / 2 + coalesce(text_rank, 0)
               + CASE WHEN name IS NULL THEN 0 WHEN similarity IS NULL THEN 2 * least(name, 1) WHEN name = 2 THEN 1
                      ELSE name * exp(-least(max(lead) OVER (), 10) ^ 3 / 4) END
           )) AS score,
           similarity, text_rank, lead, EXISTS (SELECT FROM nearest WHERE nearest.id = compared.id) AS by_meaning
    FROM (
        SELECT candidates.id, similarity, text_rank, name, coalesce(
            greatest(similarity - noise.mean, 0) / noise.spread / sqrt(2 * ln(greatest(size.rows, 10))), 0
        ) AS lead
        FROM candidates CROSS JOIN noise CROSS JOIN size LEFT JOIN text_ranks USING (id) LEFT JOIN LATERAL (
            SELECT -(vector <#> %(vector)s) AS similarity FROM vectors WHERE vectors.id = candidates.id OFFSET 0
        ) v ON true
    ) compared
)
SELECT memory.id, memory.content, memory.summary, memory.data, memory.metadata, memory.memory_type, memory.source_system, memory.user_id, memory.agent_id, memory.workflow_id, memory.repo_id, memory.session_id, memory.importance, memory.confidence, memory.tags, memory.key, memory.entity_system, memory.entity_id, memory.entity_type, memory.entity_name, memory.created_at, memory.updated_at, memory.expires_at, memory.last_accessed_at, memory.access_count, memory.base_relevance, memory.update_count, memory.last_updated, memory.revision, memory.state, memory.superseded_by, (SELECT due.due_at FROM memories_dueembedding due WHERE due.namespace_id = coalesce(%(namespace)s::bigint, memory.namespace_id) AND due.memory_id = memory.id), hits.score AS score,
       CASE WHEN abs(hits.similarity) > 1 THEN sign(hits.similarity) ELSE hits.similarity END AS similarity,
       hits.text_rank, hits.by_meaning, (SELECT count(*) FROM nearest) AS nearest_count, size.rows, size.few
FROM size LEFT JOIN (
    hits JOIN memories_memory memory ON memory.namespace_id = coalesce(%(namespace)s::bigint, memory.namespace_id) AND memory.id = hits.id
    ) ON (%(threshold)s::float8 IS NULL OR hits.text_rank IS NOT NULL OR hits.similarity >= %(threshold)s)
    AND true
ORDER BY score DESC NULLS LAST, hits.similarity DESC NULLS LAST, id LIMIT %(limit)s
