"""Makes a store of many backups, which have no data, and the catalog that knows them:
catalog.py STORE CATALOG MANIFEST SERIES EACH. MANIFEST is one to make the others from."""
import datetime
import json
import os
import sqlite3
import sys

store, catalog, manifest = sys.argv[1:4]
n_series, n_each = int(sys.argv[4]), int(sys.argv[5])
fields = json.load(open(manifest))
newest = datetime.datetime.utcnow().replace(microsecond=0)
rows = []
for series in range(n_series):
    name = f"db{series}"
    folder = f"{store}/nightly/{name}"
    os.makedirs(folder)
    for i in range(n_each):
        time = newest - datetime.timedelta(hours=6 * (n_each - i), seconds=series)
        id = time.strftime("%Y%m%dT%H%M%SZ") + f"-{i:06x}"
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ")
        fields.update(id=id, job="nightly", series=name, created_at=created)
        fields["source"]["database"] = name
        with open(f"{folder}/{id}.json", "w") as file:
            json.dump(fields, file)
        with open(f"{folder}/{id}.proof-read", "w") as file:
            file.write('{"at":"%s"}\n' % created)
        os.mkdir(f"{folder}/{id}")
        rows.append(("nightly", name, id, "file://" + store, created, 1000000 + i % 1000, 5000000,
                     10.0, "read", int(time.timestamp() * 1000), "{}"))
database = sqlite3.connect(catalog)
database.executemany(
    "INSERT INTO backups (job, series, id, store, created_at, size, decoded_size, seconds, proof,"
    " proved_ms, tags) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
database.commit()
