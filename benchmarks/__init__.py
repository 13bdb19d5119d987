"""What rls costs: `python -m benchmarks`. Data-driven, beside floors; answers are checked before times count."""
