-- psql --dbname=NEWDB --set=db=NEWDB --file=database.sql

ALTER DATABASE :"db" OWNER TO "postgres";
COMMENT ON DATABASE :"db" IS NULL;
