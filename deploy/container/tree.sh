#!/bin/sh
# Copy what the server needs from the checkout SOURCE into FOLDER and compile it: tree.sh SOURCE FOLDER
# Afterwards nobody needs to write to FOLDER, and everybody may read it.
set -eu
mkdir -p "$2"
for name in promptops templates static prompts manage.py requirements.txt CHANGELOG.md LICENSE deploy; do
  cp -R "$1/$name" "$2/"
done
find "$2" -name __pycache__ -prune -exec rm -rf {} +
python3 -m compileall -q "$2/promptops"
chmod -R a+rX,go-w "$2"
