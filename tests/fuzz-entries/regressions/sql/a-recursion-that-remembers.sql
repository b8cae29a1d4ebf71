WITH RECURSIVE n(i, b) AS (SELECT 1, zeroblob(4000000) UNION SELECT i + 1, zeroblob(4000000) FROM n) SELECT count(*) FROM n
