# Print the time at once, and then at every full hour.
while true; do
    date "+it is $HOURS_FORMAT"
    sleep $((3600 - $(date +%s) % 3600)) &
    wait $!
done
