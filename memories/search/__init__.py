"""Search memories: one SQL statement, assembled from common table expressions (CTEs).

    execute.py    compiles the scope, runs the statement, shapes the hits
    query.py      Search (what to find), Ranking (how to order hits), Scope (what may be found)
    statement.py  assembles the statement of the CTEs below

Its CTEs, in order. `words`: only in a search with a query; `vector`: only in one with a vector.

| CTE          | columns                                                     | when                | in         |
| ------------ | ----------------------------------------------------------- | ------------------- | ---------- |
| scope        | id, search_vector                                           | always              | words      |
| crossover    | known, rows                                                 | size unknown        | scope_size |
| scope_ids    | id                                                          | size unknown or few | scope_size |
| size         | rows, few                                                   | always, one row     | scope_size |
| vectors      | id, vector                                                  | vector              | vectors    |
| similarities | id, similarity                                              | vector, unless many | vectors    |
| nearest      | id, similarity                                              | vector              | vectors    |
| noise        | mean, spread                                                | vector, one row     | vectors    |
| nodes        | n, node                                                     | words               | words      |
| sample       | search_vector                                               | words               | words      |
| node_plan    | n, node, estimate, looked_up                                | words               | words      |
| postings     | n, id, rank, words                                          | words               | words      |
| node_weights | n, node, df, open, idf, name                                | words               | words      |
| query_totals | possible_idf, present_idf, average_length                   | words, one row      | words      |
| matches      | id, words, weight, presence, closed_*, name                 | words               | words      |
| top_matches  | id                                                          | words               | words      |
| candidates   | id                                                          | words               | fusion     |
| open_matches | id, words, weight, presence                                 | words               | words      |
| text_ranks   | id, text_rank, name                                         | words               | words      |
| hits         | id, score, similarity, text_rank, by_meaning; words: lead   | always              | fusion     |

The SQL of a Ranking is evaluated over `hits JOIN memories_memory memory` by id and namespace, and the ranking's own
joins, each of which names the namespace. It may use these names, the parameter `namespace` of one that is not of all
namespaces, and no others:

| name         | what                                               | used by                                    |
| ------------ | -------------------------------------------------- | ------------------------------------------ |
| hits         | a candidate with its scores                        | retrieval/recall.py, retrieval/retrieve.py |
| memory       | its row of memories_memory                         | every ranking                              |
| size         | `rows` of the scope (`few`: they are scanned)      | retrieval/retrieve.py                      |
| node_weights | the query's nodes, with `df` and `idf`; words only | retrieval/retrieve.py                      |
| vectors      | the scope's vectors by id; vector only             | retrieval/retrieve.py                      |
| text_ranks   | the candidates' text ranks; words only             | bench/explain.py                           |
| nearest      | what the vectors alone propose; vector only        | bench/explain.py                           |

`tests/memories/retrieval/test_statements.py` compares the statements of recall and retrieval with stored ones.
"""
