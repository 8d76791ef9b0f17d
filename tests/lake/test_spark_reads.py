"""Spark reads the tables as ordinary Delta tables."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pyspark = pytest.importorskip("pyspark", reason="the slow tier installs pyspark: make test-slow")

DELTA = ("io.delta:delta-spark_4.1_2.13:4.1.0", "io.delta:delta-storage:4.1.0", "org.antlr:antlr4-runtime:4.13.1")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
READ = """
import sys
from pyspark.sql import SparkSession
jars, *tables = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[1]").config("spark.jars", jars).config("spark.ui.enabled", "false")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.sql.session.timeZone", "UTC").getOrCreate()
)
for table in tables:
    frame = spark.read.format("delta").load(table)
    print("ROWS", frame.count(), sorted(str(tuple(row)) for row in frame.limit(5).collect())[:1])
"""


@pytest.mark.slow
def test_spark_counts_the_same_rows(ran, tmp_path: Path) -> None:
    """A Delta table made by a run has, for Spark, the rows that the reading door shows."""
    if shutil.which("mvn") is None:
        pytest.skip("Maven fetches Delta for Spark, and is not installed")
    for artifact in DELTA:
        command = ["mvn", "-q", "-B", COPY, f"-Dartifact={artifact}", f"-DoutputDirectory={tmp_path}"]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    jars = ",".join(str(jar) for jar in sorted(tmp_path.glob("*.jar")))
    names = ("sales.orders", "sales.daily_revenue", "sales.orders__quarantine")
    with ran.open() as workspace:
        pointers = workspace.ledger.pointers("prod")
        tables = [workspace.settings.lake.uri_of(pointers[name].table) for name in names]
    done = subprocess.run(
        [sys.executable, "-c", READ, jars, *tables], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counted = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("ROWS")]
    shown = [ran.rows(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in names]
    assert counted == shown
