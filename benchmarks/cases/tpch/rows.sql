-- Rows in the order in which they were generated, so that keys are clustered.
INSERT INTO region FROM '{parquet}/region.parquet';
INSERT INTO nation FROM '{parquet}/nation.parquet';
INSERT INTO supplier FROM '{parquet}/supplier.parquet';
INSERT INTO customer FROM '{parquet}/customer.parquet';
INSERT INTO part FROM '{parquet}/part.parquet';
INSERT INTO partsupp FROM '{parquet}/partsupp.parquet';
INSERT INTO orders FROM '{parquet}/orders.parquet';
INSERT INTO lineitem FROM '{parquet}/lineitem.parquet';
-- Ten users who share out customers and suppliers among them.
INSERT INTO managed_customers SELECT 'user-' || c_custkey % 10, c_custkey FROM customer;
INSERT INTO managed_suppliers SELECT 'user-' || s_suppkey % 10, s_suppkey FROM supplier;
