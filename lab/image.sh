#!/bin/sh
# Makes the image of the test containers, without any image registry: busybox with all its applets, and iperf3 with its
# libraries. Runs on the emulated host.
#
# usage: image.sh NAME
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/bin" "$folder/usr/bin" "$folder/tmp" "$folder/etc" "$folder/root" "$folder/var/www"
chmod 1777 "$folder/tmp"
cp "$(command -v busybox)" "$folder/bin/busybox"
for applet in $("$folder/bin/busybox" --list); do
  [ "$applet" = busybox ] || ln -s busybox "$folder/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$folder/etc/passwd"
for file in $(command -v iperf3) $(ldd "$(command -v iperf3)" | grep -o '/[^ ]*'); do
  mkdir -p "$folder${file%/*}"
  cp -L "$file" "$folder$file"
done
tar -C "$folder" -c . | docker import --change 'CMD ["sh"]' - "$1" >/dev/null
