#!/usr/bin/env python3
r"""normalise.py [--sort] [--rows] < plain dump > text to compare

Removes what differs between two plain dumps of equal databases, and nothing else:
 - \restrict and \unrestrict lines (a random key; 13.22+, 14.19+, 15.14+, 16.10+, 17.6+, 18+), «Dumped from/by» lines
 - rows of partitions that are loaded through their root («-- load via partition root»): which partition has a row, and
   in which order, depends on OIDs of enum labels and on the order of the restore: one block per root, sorted rows,
   columns in the order of their names
 - with --sort: the order of blocks; SET default_tablespace/default_table_access_method are written into each block.
   (Needed for 13 only: releases before the sort fix of 2025-08 (13.22, 15.14, 16.10, 17.6, 18) break ties by OID.)
 - with --rows: the order of rows, for tables that several connections have loaded
"""
import sys,re
HEAD=re.compile(rb'^-- (?:Data for |Statistics for )?Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: (.*)$')
def split_stmt(lines,i):
    """the statement that begins in line i, up to a ; outside of double quotes at the end of a line"""
    q=False; j=i
    while True:
        q ^= lines[j].count(b'"')%2==1
        if not q and lines[j].endswith(b';'): return j+1
        j+=1
def columns(stmt):
    m=re.search(rb' \(((?:[^"]|"(?:[^"]|"")*")*)\) FROM stdin;$',stmt,re.S) if stmt.endswith(b') FROM stdin;') else None
    if not m: return stmt,[]
    # the list is the last parenthesis outside of quotes: walk from the front
    q=False; start=None
    for k,c in enumerate(stmt):
        if c==0x22: q=not q
        elif not q and c==0x28: start=k
    cols=[];q=False;cur=b''
    for c in stmt[start+1:-len(b') FROM stdin;')]:
        if c==0x22: q=not q
        if c==0x2c and not q: cols.append(cur.strip()); cur=b''
        else: cur+=bytes([c])
    cols.append(cur.strip())
    return stmt[:start].rstrip(),cols
def main():
    sort='--sort' in sys.argv
    lines=sys.stdin.buffer.read().split(b'\n')
    blocks=[[b'',b'',b'',[]]]  # type, schema, name, lines
    state={}; roots={}; i=0
    while i<len(lines):
        l=lines[i]
        if l.startswith((b'\\restrict ',b'\\unrestrict ',b'-- Dumped from database version',b'-- Dumped by pg_dump version')): i+=1; continue
        m=HEAD.match(l)
        if m and lines[i-1]==b'--' and lines[i+1]==b'--':
            if blocks[-1][3] and blocks[-1][3][-1]==b'--': blocks[-1][3].pop()
            blocks.append([m[2],m[3],m[1],[b'--',l]]); i+=1
            if sort and m[2] in (b'TABLE',b'MATERIALIZED VIEW'):
                blocks[-1][3].append(b'-- '+b' '.join(state.get(k,b'') for k in (b'default_tablespace',b'default_table_access_method')))
            continue
        s=re.match(rb'^SET (default_tablespace|default_table_access_method) = (.*);$',l)
        if s and sort:
            state[s[1]]=s[2]; i+=1
            if blocks[-1][0] in (b'TABLE',b'MATERIALIZED VIEW') and len(blocks[-1][3])<6: blocks[-1][3][2]=b'-- '+b' '.join(state.get(k,b'') for k in (b'default_tablespace',b'default_table_access_method'))
            if i<len(lines) and lines[i]==b'': i+=1
            continue
        if blocks[-1][0]==b'TABLE DATA' and l.startswith(b'COPY '):
            j=split_stmt(lines,i); stmt=b'\n'.join(lines[i:j]); k=j
            while lines[k]!=b'\\.': k+=1
            rows=lines[j:k]
            root=any(x.startswith(b'-- load via partition root ') for x in blocks[-1][3])
            if root:
                to,cols=columns(stmt); order=sorted(range(len(cols)),key=lambda x:cols[x])
                r=roots.setdefault(to,[]); r+= [b'\t'.join(f[x] for x in order) for f in (row.split(b'\t') for row in rows)]
                blocks[-1][3]+=[to+b' ('+b', '.join(cols[x] for x in order)+b') FROM stdin;',b'(rows of %s below)'%to]
            else: blocks[-1][3]+=[stmt]+(sorted(rows) if '--rows' in sys.argv else rows)
            blocks[-1][3].append(b'\\.'); i=k+1; continue
        blocks[-1][3].append(l); i+=1
    for b in blocks:
        while b[3] and b[3][-1]==b'': b[3].pop()
    body=blocks[1:]
    if sort: body.sort(key=lambda b:(b[0],b[1],b[2],b[3]))
    out=sys.stdout.buffer
    for b in blocks[:1]+body: out.write(b'\n'.join(b[3])+b'\n\n')
    for to in sorted(roots): out.write(b'ROWS OF '+to+b'\n'+b'\n'.join(sorted(roots[to]))+b'\n\n')
main()
