-- Types as in the specification; rows in the order in which they were generated, so that keys are clustered.
CREATE TABLE region AS SELECT * REPLACE (r_regionkey::INTEGER AS r_regionkey) FROM '{parquet}/region.parquet';
CREATE TABLE nation AS SELECT * REPLACE (n_nationkey::INTEGER AS n_nationkey, n_regionkey::INTEGER AS n_regionkey) FROM '{parquet}/nation.parquet';
CREATE TABLE supplier AS SELECT * REPLACE (s_nationkey::INTEGER AS s_nationkey) FROM '{parquet}/supplier.parquet';
CREATE TABLE customer AS SELECT * REPLACE (c_nationkey::INTEGER AS c_nationkey) FROM '{parquet}/customer.parquet';
CREATE TABLE part AS FROM '{parquet}/part.parquet';
CREATE TABLE partsupp AS SELECT * REPLACE (ps_availqty::BIGINT AS ps_availqty) FROM '{parquet}/partsupp.parquet';
CREATE TABLE orders AS FROM '{parquet}/orders.parquet';
CREATE TABLE lineitem AS SELECT * REPLACE (l_linenumber::BIGINT AS l_linenumber) FROM '{parquet}/lineitem.parquet';
-- Ten users who share out customers and suppliers among them.
CREATE TABLE managed_customers AS SELECT 'user-' || c_custkey % 10 AS user_id, c_custkey AS custkey FROM customer;
CREATE TABLE managed_suppliers AS SELECT 'user-' || s_suppkey % 10 AS user_id, s_suppkey AS suppkey FROM supplier;
